"""An intent may end as withheld: approved, and deliberately not sent."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Written out: a migration stays what it was when the code's enumeration grows.
INTENT_STATES = (
    "planned",
    "prepared",
    "sent",
    "acked",
    "unknown",
    "withheld",
    "rejected",
    "applied",
    "not_applied",
    "partial",
    "expired",
    "human",
)


def upgrade() -> None:
    """Copy the entries into a table that knows the state; SQLite changes no check in place."""
    op.create_table(
        "entries_wider",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("intent_id", sa.Text),
        sa.Column("intent_state", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("account", "sequence"),
        sa.CheckConstraint(sa.column("intent_state").in_(INTENT_STATES), "intent_state_known"),
        sa.CheckConstraint("(intent_id IS NULL) = (intent_state IS NULL)", "intent_whole"),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO entries_wider SELECT * FROM entries")
    op.drop_table("entries")  # its triggers and its index go with it
    op.rename_table("entries_wider", "entries")
    op.create_index("entries_by_intent", "entries", ["account", "intent_id"])
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER entries_no_{change.lower()} BEFORE {change} ON entries "
            "BEGIN SELECT RAISE(ABORT, 'entries are only ever appended'); END"
        )


def downgrade() -> None:
    """Refuse: a journal is never thrown away by a program."""
    raise NotImplementedError("a journal cannot be downgraded: restore a copy instead")
