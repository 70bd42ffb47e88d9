"""Runs the migrations on the connection, and in the transaction, of `store.file`."""

from alembic import context

from mcp_server.store.run_tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
context.run_migrations()
