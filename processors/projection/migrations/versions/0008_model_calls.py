"""Calls of models; their topic is new to the read model, so it is read from its beginning."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BEFORE_USAGE = ("log_offset", "at_ms", "provider", "model", "endpoint", "status", "latency_ms", "streamed")
USAGE = ("tokens_in", "tokens_out", "cached_tokens", "usage", "cost_nano", "price", "source")
OWNERS = ("key_id", "project", "user_id", "session_id", "trace_id", "fingerprint")
TEXTS = {"provider", "model", "endpoint", *OWNERS}


def upgrade() -> None:
    op.create_table(
        "model_calls",
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        *(
            sa.Column(name, sa.Text if name in TEXTS else sa.BigInteger, nullable=False)
            for name in (*BEFORE_USAGE, *USAGE, *OWNERS, "retry_count")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_model_calls_order", "model_calls", ["workspace", "at_ms"])
    op.create_index("ix_model_calls_at", "model_calls", ["at_ms"])


def downgrade() -> None:
    op.drop_table("model_calls")
    op.execute("DELETE FROM log_positions WHERE topic = 'burn.telemetry'")
