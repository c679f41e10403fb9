"""Export: every format, any number of rows, no formulas, no foreign rows, always recorded."""

from __future__ import annotations

import csv
import gc
import io
import json
import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.audit import services_export
from app.audit.filters import AuditFilter
from app.audit.models import IAMAuthLog
from app.audit.services_export import COLUMNS, Export, safe_cell
from app.core import clock
from app.core.db import session, transaction
from app.core.errors import BadRequest
from app.core.ids import new_id

EVERYTHING = AuditFilter()


def begin(trail, format_: str, conditions: AuditFilter = EVERYTHING) -> Export:
    with transaction():
        return services_export.begin(conditions, format_, typed={"q": "typed"}, actor=trail.actor)


def exported(trail, format_: str, conditions: AuditFilter = EVERYTHING) -> str:
    return "".join(begin(trail, format_, conditions).chunks)


def test_m4_the_three_formats_hold_the_same_events_newest_first(trail) -> None:
    earlier = clock.now() - timedelta(hours=1)
    trail.add("LOGIN_FAILED", at=earlier, identifier="Zoë", status="failure")
    trail.add("USER_UPDATED", changes={"status": ["active", "disabled"]})
    as_json = json.loads(exported(trail, "json", AuditFilter(status=("success", "failure"))))
    lines = [json.loads(line) for line in exported(trail, "ndjson").splitlines()]
    table = list(csv.DictReader(io.StringIO(exported(trail, "csv"), newline="")))
    ids = [row["id"] for row in as_json if row["action"] != "AUDIT_EXPORTED"]
    assert len(ids) == 2
    assert [row["id"] for row in lines if row["action"] != "AUDIT_EXPORTED"] == ids
    assert [row["id"] for row in table if row["action"] != "AUDIT_EXPORTED"] == ids
    assert tuple(as_json[0]) == tuple(table[0]) == COLUMNS
    assert table[-1]["metadata"] == '{"identifier":"Zoë"}'
    assert lines[-2]["changes"] == {"status": ["active", "disabled"]}


def test_m4_an_empty_export_is_whole(trail) -> None:
    nothing = AuditFilter(action="USER_DELETED")
    assert json.loads(exported(trail, "json", nothing)) == []
    assert exported(trail, "ndjson", nothing) == ""
    assert exported(trail, "csv", nothing) == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize("count", [1000, 2001])
def test_m4_rows_come_in_chunks_and_none_is_lost_between_them(trail, count) -> None:
    trail.add("LOGOUT", count=count)
    only = AuditFilter(action="LOGOUT")
    chunks = list(begin(trail, "ndjson", only).chunks)
    assert max(chunk.count("\n") for chunk in chunks) == services_export.CHUNK_ROWS
    ids = [json.loads(line)["id"] for chunk in chunks for line in chunk.splitlines()]
    assert len(set(ids)) == count
    assert ids == sorted(ids, reverse=True)
    assert len(json.loads(exported(trail, "json", only))) == count


def test_m4_the_connection_is_given_back_between_chunks(trail) -> None:
    trail.add("LOGOUT", count=1001)
    chunks = begin(trail, "csv").chunks
    for _part in range(2):
        next(chunks)
        assert not session().in_transaction()


def test_m4_an_export_is_recorded_before_its_first_byte_and_does_not_hold_itself(trail) -> None:
    trail.add("LOGOUT")
    export = begin(trail, "csv", AuditFilter(severity="notice"))
    row = session().scalar(select(IAMAuthLog).where(IAMAuthLog.action == "AUDIT_EXPORTED"))
    assert row.details == {"format": "csv", "filters": {"q": "typed"}}
    assert "AUDIT_EXPORTED" not in "".join(export.chunks)


def test_m4_an_unknown_format_is_refused_and_not_recorded(trail) -> None:
    for name in ("xml", "", "CSV", "../csv"):
        with pytest.raises(BadRequest):
            begin(trail, name)
    assert session().scalars(select(IAMAuthLog)).all() == []


def test_at_405_an_export_stays_in_its_tenant_whoever_reads_it(trail, foreign_trail) -> None:
    foreign_trail.add("USER_DELETED")
    trail.add("LOGOUT")
    export = begin(trail, "ndjson")
    with foreign_trail.scope():
        rows = [json.loads(line) for line in "".join(export.chunks).splitlines()]
    assert [(row["action"], row["tenant_id"]) for row in rows] == [("LOGOUT", str(trail.tenant_id))]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "=cmd|' /C calc'!A0", "\uff1d1", "-2+3"],
)
def test_at_403_a_cell_never_starts_a_formula(text) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["plain", "a=b", "", "1-2", "mail@example.org", " =1"])
def test_at_403_other_cells_stay_as_they_are(text) -> None:
    assert safe_cell(text) == text


def test_at_403_a_formula_in_a_name_or_browser_is_neutralised_in_the_file(trail) -> None:
    poison = '=HYPERLINK("http://evil.example","click")'
    trail.add("LOGIN_FAILED", actor=trail.actor.acting_as(user_agent=poison), identifier=poison)
    [row] = csv.DictReader(io.StringIO(exported(trail, "csv"), newline=""))
    assert row["user_agent"] == f"'{poison}"
    assert not any(value.startswith(tuple("=+-@\t\r")) for value in row.values())


# ------------------------------------------------------------------------- memory


def bulk(trail, action: str, count: int) -> None:
    """Put events into the trail past the service, which would take its time over them."""
    at = clock.now()
    same = {
        "tenant_id": trail.tenant_id, "action": action, "severity": "info", "status": "success",
        "actor_type": "anonymous", "changes": {}, "metadata": {"identifier": "x" * 400},
        "encoding_version": 1, "occurred_at": at, "recorded_at": at,
    }  # fmt: skip
    with session().get_bind().begin() as connection:
        rows = [{**same, "id": new_id()} for _number in range(count)]
        connection.execute(IAMAuthLog.__table__.insert(), rows)


def peak(trail, format_: str, action: str) -> tuple[int, int]:
    """Return the rows of an export and the most memory that it held at once."""
    sent = begin(trail, format_, AuditFilter(action=action))
    gc.collect()
    tracemalloc.start()
    try:
        rows = sum(chunk.count("x" * 400) for chunk in sent.chunks)
        return rows, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("format_", ["csv", "json", "ndjson"])
def test_m4_an_export_takes_no_more_memory_for_more_events(trail, monkeypatch, format_) -> None:
    """Five times as many events, the same peak: what was sent is forgotten."""
    monkeypatch.setattr(services_export, "CHUNK_ROWS", 100)
    bulk(trail, "LOGOUT", 200)
    bulk(trail, "DEVICE_RENAMED", 1000)
    peak(trail, format_, "LOGOUT")  # what is made once is made now
    few, little = peak(trail, format_, "LOGOUT")
    many, much = peak(trail, format_, "DEVICE_RENAMED")
    assert (few, many) == (200, 1000)
    assert much < little * 1.25, f"{little} bytes for {few} events, {much} for {many}"


def test_the_measure_of_memory_can_fail(trail, monkeypatch) -> None:
    monkeypatch.setattr(services_export, "CHUNK_ROWS", 100)
    kept: list[object] = []
    ndjson = services_export.FORMATS["ndjson"]

    def hoard(rows, first):
        kept.append(rows)
        return ndjson.write(rows, first)

    bulk(trail, "LOGOUT", 200)
    bulk(trail, "DEVICE_RENAMED", 1000)
    hoarding = replace(ndjson, write=hoard)
    monkeypatch.setitem(services_export.FORMATS, "ndjson", hoarding)
    _few, little = peak(trail, "ndjson", "LOGOUT")
    _many, much = peak(trail, "ndjson", "DEVICE_RENAMED")
    assert much > little * 1.5
