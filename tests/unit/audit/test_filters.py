"""The filter of the audit trail: what may be asked for, and how a bad value is refused."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audit.filters import FIELDS, AuditFilter, parse, parse_size, values_of
from app.core.errors import BadRequest, InvalidInput
from app.core.ids import new_id

PERSON = new_id()
THING = new_id()
BERLIN = ZoneInfo("Europe/Berlin")


def parsed(**typed: str) -> AuditFilter:
    args = {name.rstrip("_"): value for name, value in typed.items()}
    return parse(args, find_actor={"maria": PERSON}.get, zone=BERLIN)


def test_m4_an_empty_query_string_asks_for_everything() -> None:
    assert parsed() == AuditFilter()
    assert parsed(q="  ", action="", unknown="x") == AuditFilter()


def test_m4_every_field_is_understood() -> None:
    assert parsed(
        action="LOGIN_FAILED",
        actor="maria",
        status="failure,denied",
        severity="warning",
        ip="2001:DB8:0::1",
        resource=f"user_account:{THING}",
        from_="2026-03-01",
        to="2026-03-02T12:30+00:00",
        q="password",
    ) == AuditFilter(
        action="LOGIN_FAILED",
        actor=PERSON,
        status=("failure", "denied"),
        severity="warning",
        ip="2001:db8::1",
        resource_type="user_account",
        resource_id=THING,
        from_=datetime(2026, 2, 28, 23, tzinfo=UTC),
        to=datetime(2026, 3, 2, 12, 30, tzinfo=UTC),
        q="password",
    )


def test_m4_an_actor_may_be_an_id_and_a_resource_a_type_or_an_id() -> None:
    assert parsed(actor=str(THING)).actor == THING
    assert parsed(resource="role").resource_type == "role"
    assert parsed(resource=str(THING)).resource_id == THING


def test_m4_the_last_day_belongs_to_the_range_also_when_the_clock_changes() -> None:
    # The 29th of March 2026 has 23 hours in Berlin.
    day = parsed(from_="2026-03-29", to="2026-03-29")
    assert day.to - day.from_ == timedelta(hours=23)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "login_failed"),
        ("action", "LOGIN_FAILED' OR '1'='1"),
        ("actor", "nobody-of-this-name"),
        ("actor", "00000000-0000-0000-0000-00000000000g"),
        ("status", "success;DROP TABLE iam_auth_log"),
        ("status", "success,"),
        ("severity", "fatal"),
        ("ip", "1.2.3.4.5"),
        ("ip", "10.0.0.0/8"),
        ("resource", "iam_user_account; --"),
        ("resource", "role:"),
        ("resource", "role:not-an-id"),
        ("from", "yesterday"),
        ("from", "2026-02-30"),
        ("from", "0001-01-01T00:00+14:00"),
        ("to", "9999-12-31"),
        ("to", "٢٠٢٦-٠١-٠١"),
        ("q", "two\nlines"),
        ("q", "nul\x00"),
        ("q", "\u202eright to left"),
        ("q", "x" * 255),
    ],
)
def test_at_442_a_value_outside_the_allowed_is_refused_beside_its_field(field, value) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(**{field: value})
    assert refused.value.field == field
    assert refused.value.status == 422
    assert refused.value.title != InvalidInput.title
    assert value not in refused.value.title


def test_m4_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(from_="2026-03-02", to="2026-03-01")
    assert refused.value.field == "to"


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=40)))
def test_at_442_no_text_whatever_is_more_than_refused(typed) -> None:
    with suppress(InvalidInput):
        parse(typed, find_actor=lambda _login: None)


@given(st.dates(), st.times(), st.sampled_from(["", "Z", "+23:59", "-23:59"]))
def test_at_442_no_date_whatever_is_more_than_refused(date, time, offset) -> None:
    for field in ("from", "to"):
        try:
            found = parse({field: f"{date}T{time}{offset}"}, find_actor=lambda _login: None)
        except InvalidInput:
            continue
        assert (found.from_ or found.to).tzinfo is UTC


@pytest.mark.parametrize(
    "size", ["0", "-1", "201", "99999999999999999999", "1e3", "ten", " 5", "²", "٥"]
)
def test_at_449_a_page_size_out_of_bounds_is_a_bad_request(size) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_size(size)
    assert refused.value.status == 400


def test_at_449_a_page_size_in_bounds_is_taken() -> None:
    assert [parse_size(text) for text in (None, "", "1", "200")] == [25, 25, 1, 200]


def test_m4_what_was_typed_is_kept_for_the_form() -> None:
    assert values_of({"q": " a ", "from": "x", "cursor": "c", "size": "5", "ip": ""}) == {
        "q": "a",
        "from": "x",
    }
