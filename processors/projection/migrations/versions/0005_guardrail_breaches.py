"""The breaches ledger. `audit` is read once more, for what it said before this."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXTS = ("layer", "mode", "outcome", "reason", "scope", "scope_id", "key_id", "session_id", "fingerprint", "calls")


def upgrade() -> None:
    op.create_table(
        "guardrail_breaches",
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("observed", sa.Double, nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in (*TEXTS, "request_id")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_guardrail_breaches_at", "guardrail_breaches", ["at_ms"])
    op.execute("DELETE FROM log_positions WHERE topic = 'audit'")


def downgrade() -> None:
    op.drop_table("guardrail_breaches")
