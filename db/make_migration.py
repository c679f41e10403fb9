"""Write a migration from the difference between the newest revision and the models.

    python -m db.make_migration "add passkeys"     the next revision, to be read and corrected
    python -m db.make_migration --foundation       0001 anew; only before the first release
    python -m db.make_migration --schema           db/iam_schema.sql alone

Each also writes `db/iam_schema.sql`. Revisions use plain types of their own, never the
package's: what a migration did must not change when the package's types do.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import mysql

import app.auth.models  # noqa: F401 - yields every table
from app.core import clock, ddl, migrations, schema
from app.core.db import TABLE_OPTIONS, Base
from app.core.types import BINARY_COLLATION, GUID, Digest, UTCDateTime

FOUNDATION = "0001_foundation"
SCHEMA_FILE = Path(__file__).with_name("iam_schema.sql")

TEMPLATE = '''\
"""{message}

Revision: {revision}
Revises: {down_revision}
Written: {today}
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = {revision!r}
down_revision = {down_revision!r}
branch_labels = None
depends_on = None

INNODB: dict[str, Any] = {options!r}
{triggers}

def guid() -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql")


def digest() -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def octets(length: int) -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql")


def moment() -> sa.types.TypeEngine[Any]:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")


def string(length: int) -> sa.types.TypeEngine[Any]:
    kind = mysql.VARCHAR(length, charset="utf8mb4", collation={collation!r})
    return sa.String(length).with_variant(kind, "mysql")


def long_text() -> sa.types.TypeEngine[Any]:
    kind = mysql.MEDIUMTEXT(charset="utf8mb4", collation={collation!r})
    return sa.Text().with_variant(kind, "mysql")


def upgrade() -> None:
{body}{after}

def downgrade() -> None:
    raise NotImplementedError("no way back: restore the backup made before the upgrade")
'''

CREATE_TRIGGERS = """\
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m db.make_migration")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("message", nargs="?", help="what the revision does, in a few words")
    choice.add_argument("--foundation", action="store_true", help="write the first one anew")
    choice.add_argument("--schema", action="store_true", help="write the SQL file alone")
    options = parser.parse_args(arguments)
    if options.foundation:
        print(write_foundation())
    elif options.message:
        print(write_next(options.message))
    SCHEMA_FILE.write_text(schema.render_mysql_schema(), encoding="utf-8")
    print(SCHEMA_FILE)
    return 0


def write_foundation() -> Path:
    """Write the first revision anew. Raises SystemExit once there is a second one."""
    folder = migrations.directory() / "versions"
    others = [path.name for path in folder.glob("*.py") if path.stem != FOUNDATION]
    if others:
        raise SystemExit(f"the foundation is settled, it is built upon by {others}")
    created = {
        dialect: [
            statement
            for table in Base.metadata.sorted_tables
            for statement in ddl.triggers(table, dialect)
        ]
        for dialect in ddl.DIALECTS
    }
    engine = sa.create_engine("sqlite://")
    return write(engine, FOUNDATION, None, "Every table of the first release.", created)


def write_next(message: str) -> Path:
    """Write the revision that leads from the newest one to the models."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    migrations.upgrade(engine)
    newest = migrations.head()
    words = "_".join(re.findall(r"[a-z0-9]+", message.lower()))[:27]
    revision = f"{int(newest[:4]) + 1:04d}_{words}"
    sentence = message[:1].upper() + message[1:].rstrip(".") + "."
    return write(engine, revision, newest, sentence, changed_triggers(engine))


def changed_triggers(engine: sa.Engine) -> dict[str, list[str]]:
    """Return, by dialect, what makes the guards that an upgraded database lacks, or has otherwise.

    Asked of SQLite, which has every guard that MySQL has.
    """
    names = set(migrations.missing_triggers(engine))
    found: dict[str, list[str]] = {}
    for dialect in ddl.DIALECTS:
        for table in Base.metadata.sorted_tables:
            for statement in ddl.triggers(table, dialect):
                name = statement.split()[2]
                if name in names:
                    drop = f"DROP TRIGGER IF EXISTS {name}"
                    found.setdefault(dialect, []).extend((drop, statement))
    return found


def write(
    engine: sa.Engine,
    revision: str,
    down_revision: str | None,
    message: str,
    created: dict[str, list[str]] | None = None,
) -> Path:
    """Render one revision file and format it."""
    text = TEMPLATE.format(
        message=message,
        revision=revision,
        down_revision=down_revision,
        today=clock.now().date().isoformat(),
        options=TABLE_OPTIONS,
        collation=BINARY_COLLATION,
        triggers=f"TRIGGERS = {literal(created)}\n" if created else "",
        body=difference(engine),
        after=CREATE_TRIGGERS if created else "",
    )
    path = migrations.directory() / "versions" / f"{revision}.py"
    path.write_text(text, encoding="utf-8")
    for command in (["format"], ["check", "--fix"]):
        argv = [sys.executable, "-m", "ruff", *command, "--quiet", str(path)]
        subprocess.run(argv, check=True)  # noqa: S603 - the formatter, on the file just written
    return path


def literal(created: dict[str, list[str]]) -> str:
    """Return the source of `created`, long statements in pieces."""
    entries = [
        f"{dialect!r}: [{', '.join(pieces(item) for item in items)}]"
        for dialect, items in created.items()
    ]
    return f"{{{', '.join(entries)}}}"


def pieces(statement: str) -> str:
    parts = textwrap.wrap(statement, 80, break_long_words=False, drop_whitespace=False)
    return "(" + "\n".join(repr(part) for part in parts) + ")"


def difference(engine: sa.Engine) -> str:
    """Return the body of `upgrade`: what the database lacks of the models."""
    options = {
        "version_table": migrations.VERSION_TABLE,
        "target_metadata": Base.metadata,
        "render_item": render_item,
        "compare_type": True,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        steps = produce_migrations(context, Base.metadata).upgrade_ops
    if steps is None or steps.is_empty():
        raise SystemExit("the models hold nothing that the newest revision lacks")
    body = render_python_code(steps, render_item=render_item, migration_context=context)
    body = re.sub(r"^\s*#.*\n?", "", body, flags=re.MULTILINE)
    own = r",\n\s*".join(f"{key}={value!r}" for key, value in sorted(TABLE_OPTIONS.items()))
    return textwrap.indent(textwrap.dedent(re.sub(own, "**INNODB", body)), "    ") + "\n"


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Name the plain types at the top of the revision instead of the package's own."""
    if kind != "type":
        return False
    for cls, name in ((GUID, "guid()"), (Digest, "digest()"), (UTCDateTime, "moment()")):
        if isinstance(item, cls):
            return name
    variant = getattr(item, "_variant_mapping", {}).get("mysql")
    if isinstance(variant, mysql.VARBINARY):
        return f"octets({item.length})"
    if getattr(variant, "collation", None) != BINARY_COLLATION:
        return False
    return "long_text()" if isinstance(item, sa.Text) else f"string({item.length})"


if __name__ == "__main__":
    raise SystemExit(main())
