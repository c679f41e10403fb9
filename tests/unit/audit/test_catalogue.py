"""The catalogue of events: what may be recorded at all, and what never."""

from __future__ import annotations

import pytest

from app.audit.events import CATALOGUE, INFO, Event
from app.audit.filters import SEVERITIES
from app.audit.services_audit import record
from app.core.actor import Actor
from app.core.ids import new_id

ACTOR = Actor(kind="user", tenant_id=new_id())
# Words under which a secret would travel; `identifier` is what somebody typed as a name.
SECRETS = {"password", "code", "token", "secret", "key", "cookie", "otp", "hash", "session_id"}


def test_m1_an_event_outside_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="MADE_UP is not in the audit catalogue"):
        record(Event("MADE_UP", INFO, "Made up."), actor=ACTOR)


def test_m1_a_look_alike_of_a_catalogued_event_is_refused() -> None:
    with pytest.raises(ValueError, match="LOGOUT is not in the audit catalogue"):
        record(Event("LOGOUT", INFO, "Somebody else's.", frozenset({"token"})), actor=ACTOR)


def test_at_402_metadata_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="LOGIN_FAILED may not carry code, password"):
        record(CATALOGUE["LOGIN_FAILED"], actor=ACTOR, password="canary", code="123456")


@pytest.mark.parametrize("event", CATALOGUE.values(), ids=lambda event: event.name)
def test_m1_every_event_is_fit_to_be_shown_and_stored(event: Event) -> None:
    assert event.name.isupper()
    assert len(event.name) <= 64
    assert event.severity in SEVERITIES
    assert event.meaning.endswith(".")
    assert not event.fields & SECRETS


def test_m5_what_must_notify_at_once_is_critical() -> None:
    for name in ("USER_DELETED", "ROLE_DELETED",
                 "PASSWORD_RESET", "MFA_DISABLED"):  # fmt: skip
        assert CATALOGUE[name].severity == "critical"
