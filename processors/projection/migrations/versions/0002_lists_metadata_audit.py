"""What lists, filters and the audit need. The events are read from the log once more, with their status and order."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NOT_DELIVERED = sa.text("status <> 'delivered'")
ABOUT = ("actor", "action", "route", "resource", "outcome", "request_id", "address")


def upgrade() -> None:
    op.execute("DELETE FROM log_positions")
    op.execute("DELETE FROM source_positions")
    op.execute("DELETE FROM events")
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("status", sa.Text, nullable=False))
        events.add_column(sa.Column("seq", sa.BigInteger, nullable=False))
    scope = ["workspace", "environment"]
    op.create_index("ix_events_received", "events", [*scope, "received_ms", "id"])
    op.create_index("ix_events_stream", "events", [*scope, "stream", "received_ms", "id"])
    op.create_index("ix_events_type", "events", [*scope, "type", "received_ms", "id"])
    op.create_index(
        "ix_events_open",
        "events",
        [*scope, "status", "received_ms", "id"],
        sqlite_where=NOT_DELIVERED,
        postgresql_where=NOT_DELIVERED,
    )
    op.create_index("ix_events_seq", "events", ["seq", *scope, "received_ms"])
    op.create_index("ix_event_conflicts_received", "event_conflicts", ["received_ms"])
    op.create_table(
        "events_metadata",
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("received_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_log",
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ABOUT),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_audit_log_order", "audit_log", [*scope, "log_offset"])
    state = op.create_table(
        "read_model_state",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("generation", sa.Text, nullable=False),
        sa.Column("transactions", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(state, [{"number": 0, "generation": secrets.token_hex(16), "transactions": 0}])


def downgrade() -> None:
    """Back to events alone, read from the log once more."""
    for table in ("read_model_state", "audit_log", "events_metadata"):
        op.drop_table(table)
    for index in ("received", "stream", "type", "open", "seq"):
        op.drop_index(f"ix_events_{index}", "events")
    op.drop_index("ix_event_conflicts_received", "event_conflicts")
    op.execute("DELETE FROM log_positions")
    op.execute("DELETE FROM source_positions")
    op.execute("DELETE FROM events")
    with op.batch_alter_table("events") as events:
        events.drop_column("seq")
        events.drop_column("status")
