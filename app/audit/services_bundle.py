"""The trail for the verifier: read-only over its own connection, and exported as a bundle.

A check reads what the tables hold, past models and scopes, in one snapshot; it covers every
tenant unless some are named. Refuses to know what the bytes mean: that is `verifier.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

from ..core import clock
from ..core.actor import Actor
from ..core.db import engine, transaction
from . import verifier
from .events import AUDIT_EXPORTED
from .services_audit import record
from .settings import AuditSettings


@contextmanager
def open_database() -> Iterator[verifier.Source]:
    """Open the database of the current app for a check. Raises SourceError."""
    url = engine().url
    if engine().dialect.name == "sqlite" and url.database not in {None, "", ":memory:"}:
        with verifier.open_sqlite(str(Path(str(url.database)).resolve())) as source:
            yield source
        return
    try:
        with closing(engine().raw_connection()) as connection:
            if engine().dialect.name == "sqlite":
                yield verifier.SqlSource(connection.cursor().execute)
                return
            with verifier.read_mysql(connection) as source:
                yield source
    except engine().dialect.loaded_dbapi.Error as error:
        raise verifier.SourceError(f"the database cannot be read: {error}") from error


def verify(
    *,
    keys: Sequence[str] = (),
    files: Sequence[Path] = (),
    fresh_within: str | None = None,
    wanted: Sequence[UUID] = (),
) -> verifier.Report:
    """Verify the database of the current app, against the anchor file where one is kept.

    Raises SourceError, and ValueError for a key, an anchor or a time that cannot be read.
    """
    kept = AuditSettings.current().AUDIT_ANCHOR_FILE
    if not files and kept and Path(kept).is_file():
        files = [Path(kept)]
    notes = [note for file in files for note in verifier.read_notes(file.read_text("utf-8"))]
    with open_database() as source:
        return verifier.verify(
            source,
            now=clock.now(),
            vkeys=keys,
            anchors=notes,
            fresh_within=verifier.duration(fresh_within) if fresh_within else None,
            wanted=wanted,
        )


def write_bundle(path: Path, *, tenants: Sequence[UUID] = (), actor: Actor) -> int:
    """Write everything a check needs into a new file and return its number of lines.

    Owns its transaction: the export is recorded before the first line is written.
    Raises OSError where the file is there already, or cannot be written.
    """
    path.touch(mode=0o600, exist_ok=False)  # the events of people: for nobody else's eyes
    with transaction():
        record(AUDIT_EXPORTED, actor=actor, format="bundle", filters={})
    lines = 0
    with (
        open_database() as source,
        path.open("w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        for line in verifier.bundle_lines(source, made=clock.now(), wanted=tenants):
            file.write(line)
            lines += 1
    return lines
