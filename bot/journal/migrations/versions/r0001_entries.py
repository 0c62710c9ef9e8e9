"""The chain of entries of every account, and the texts they refer to by digest."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Written out: a migration stays what it was when the code's enumeration grows.
INTENT_STATES = (
    "planned",
    "prepared",
    "sent",
    "acked",
    "unknown",
    "rejected",
    "applied",
    "not_applied",
    "partial",
    "expired",
    "human",
)


def upgrade() -> None:
    """Create the tables; entries can be added, never changed."""
    op.create_table(
        "entries",
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
    op.create_index("entries_by_intent", "entries", ["account", "intent_id"])
    op.create_table(
        "texts",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER entries_no_{change.lower()} BEFORE {change} ON entries "
            "BEGIN SELECT RAISE(ABORT, 'entries are only ever appended'); END"
        )
    # "LQGD": tells a journal from any other SQLite file.
    op.execute(f"PRAGMA application_id = {0x4C514744}")


def downgrade() -> None:
    """Refuse: a journal is never thrown away by a program."""
    raise NotImplementedError("a journal cannot be downgraded: restore a copy instead")
