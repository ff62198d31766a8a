"""Runs the migrations on the connection that `app.storage.database.migrate` hands over."""

from alembic import context

from app.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a column by making its table anew.
    render_as_batch=True,
)
context.run_migrations()
