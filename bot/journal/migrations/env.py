"""Run by Alembic: applies the revisions in the open transaction that `upgrade` hands in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
