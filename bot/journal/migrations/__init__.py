"""The journal's schema, as Alembic revisions: package data, applied without any ini file."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """
    Bring the journal behind `connection` to the newest revision, in its open transaction.

    Raises `alembic.util.CommandError` for a journal of a revision that is not known here.
    """
    config = Config()
    config.set_main_option("script_location", "bot.journal:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
