"""Alembic's environment for the `iam_*` tables; run by `core/migrations.py` alone.

Everything it needs is handed over in the configuration, so that the same file works
whether the package is called `app` (checkout) or `iam` (wheel).
"""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError


def run() -> None:
    """Run the migrations on the connection that was handed in."""
    given = context.config.attributes
    if context.is_offline_mode() or given.get("connection") is None:
        raise CommandError("run `flask iam init-db`; plain SQL is in db/iam_schema.sql")
    metadata = given["metadata"]

    def ours(_item, name, kind, _reflected, _compare_to):
        return kind != "table" or name in metadata.tables

    context.configure(
        connection=given["connection"],
        target_metadata=metadata,
        version_table=given["version_table"],
        include_object=ours,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
