"""Projects and tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("assignee_id", sa.Text),
        sa.Column("due_ms", sa.BigInteger),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("log_offset", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    scope = ["workspace", "environment"]
    op.create_index("ix_projects_order", "projects", [*scope, "sequence"])
    op.create_index("ix_tasks_order", "tasks", [*scope, "sequence"])
    op.create_index("ix_tasks_project", "tasks", [*scope, "project_id", "sequence"])


def downgrade() -> None:
    op.drop_table("tasks")
    op.drop_table("projects")
    op.execute("DELETE FROM log_positions WHERE topic = 'items'")
    op.execute("DELETE FROM source_positions WHERE topic = 'commands'")
