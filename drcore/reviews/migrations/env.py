"""Run by Alembic for each command: the steps go through the connection of the caller."""

from alembic import context

from drcore.reviews.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # The caller's transaction holds all steps: a failure leaves the database as it was.
    transaction_per_migration=False,
)
context.run_migrations()
