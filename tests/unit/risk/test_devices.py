"""Devices: what the cookie says, what rotation finds out, what trust is worth (J3, F2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.auth.sign_in.services_login_rows import find_by_id
from app.core import clock
from app.core.actor import Actor
from app.core.crypto import keyring
from app.core.db import session, transaction
from app.core.errors import NotFound
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.risk import services_devices as devices
from app.risk.models import IAMDevice
from tests.conftest import Someone
from tests.support.people import rows_of

GRACE = timedelta(minutes=devices.DEVICE_ROTATE_MINUTES)
BROWSER = b"b" * 32


@dataclass(frozen=True)
class Stored:
    """A device as decisions see it."""

    id: UUID
    known: bool = True
    generation: int = 0
    rotated_at: datetime | None = None
    trusted_until: datetime | None = None
    newest: int = 0


@pytest.fixture
def ann(make_user: Any, scoped: UUID) -> Someone:
    """Return a person, in whose tenant the test runs."""
    found: Someone = make_user("ann")
    return found


@pytest.fixture
def own(ann: Someone, actor: Actor) -> Actor:
    """Return the person as the actor."""
    return actor.acting_as(kind="user", user_id=ann.id, ip="192.0.2.7", user_agent="Mozilla/5.0")


@pytest.fixture
def device(ann: Someone, own: Actor) -> IAMDevice:
    """Return a browser of the person's, not yet known."""
    return remember(ann, own)


def remember(person: Someone, actor: Actor, browser: bytes = BROWSER) -> IAMDevice:
    with transaction():
        return devices.remember_device(person.id, browser, actor=actor)


def rotate(device: Any, presented: int, actor: Actor) -> int | None:
    with transaction():
        return devices.rotate(device, presented, clock.now(), actor)


def fresh() -> IAMDevice:
    """Return the only device as stored now."""
    [found] = rows_of(IAMDevice)
    assert isinstance(found, IAMDevice)
    return found


# ------------------------------------------------------------------------ the cookie


def signed(value: Any) -> str:
    return str(keyring().serializer("device-cookie").dumps(value))


@pytest.mark.usefixtures("app")
def test_j3_a_new_cookie_is_of_generation_nought() -> None:
    one, other = devices.read_cookie(devices.new_cookie()), devices.read_cookie(signed(["x", 0]))
    assert one is not None
    assert other is not None
    assert (one.generation, len(one.digest)) == (0, 32)
    assert one.digest != other.digest


@pytest.mark.usefixtures("app")
def test_j3_a_renewed_cookie_names_the_same_browser() -> None:
    value = devices.new_cookie()
    renewed = devices.renewed_cookie(value, 7)
    before, after = devices.read_cookie(value), devices.read_cookie(renewed)
    assert before is not None
    assert after is not None
    assert (before.digest, after.generation) == (after.digest, 7)


@pytest.mark.usefixtures("app")
def test_j3_a_cookie_from_before_generations_still_names_its_browser() -> None:
    old, new = devices.read_cookie(signed("secret")), devices.read_cookie(signed(["secret", 3]))
    assert old is not None
    assert new is not None
    assert (old.digest, old.generation) == (new.digest, 0)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    "content",
    [None, 7, [], ["x"], ["x", "1"], ["x", None], [1, 2], {"x": 1}, ["x", 1, 2], ["x", 1.5]],
)
def test_at_070_signed_nonsense_names_no_browser(content: Any) -> None:
    assert devices.read_cookie(signed(content)) is None


@pytest.mark.usefixtures("app")
def test_at_070_a_forged_or_borrowed_signature_names_no_browser() -> None:
    value = devices.new_cookie()
    elsewhere = str(keyring().serializer("recovery-codes").dumps(["secret", 0]))
    content, rest = value.split(".", 1)
    raised = signed(["secret", 99]).split(".", 1)[0]
    for forged in (
        None,
        "",
        "x",
        value[:-2],
        f"{content}..",
        f"{raised}.{rest}",
        elsewhere,
        "a" * 600,
    ):
        assert devices.read_cookie(forged) is None
        assert devices.renewed_cookie(forged, 1) is None


# ------------------------------------------------------------------------ pure decisions


@pytest.mark.parametrize(
    ("presented", "age", "stale"),
    [
        (3, GRACE, False),
        (4, GRACE, False),
        (2, GRACE, True),
        (2, GRACE - timedelta(seconds=1), False),
        (0, timedelta(0), False),
        (2, None, True),
    ],
)
def test_j3_an_older_generation_is_a_copy_once_the_grace_is_over(
    presented: int, age: timedelta | None, stale: bool
) -> None:
    at = clock.now()
    held = Stored(new_id(), generation=3, rotated_at=None if age is None else at - age)
    assert devices.is_stale(held, presented, at) is stale


@pytest.mark.parametrize(
    ("left", "days", "trusted"),
    [
        (timedelta(days=30), 30, True),
        (timedelta(microseconds=1), 30, True),
        (timedelta(0), 30, False),
        (timedelta(days=-1), 30, False),
        (timedelta(days=30), 0, False),
        (timedelta(microseconds=1), 0, False),
        (timedelta(days=20), 7, False),
        (timedelta(days=5), 7, True),
    ],
)
def test_f2_trust_holds_until_its_end_and_within_the_setting_in_force(
    left: timedelta, days: int, trusted: bool
) -> None:
    at = clock.now()
    held = Stored(new_id(), trusted_until=at + left)
    assert devices.is_trusted(held, at, days=days) is trusted


def test_f2_an_unknown_device_is_never_trusted() -> None:
    at = clock.now()
    held = Stored(new_id(), known=False, trusted_until=at + timedelta(days=1))
    assert not devices.is_trusted(held, at, days=30)
    assert not devices.is_trusted(Stored(new_id()), at, days=30)


# ------------------------------------------------------------------------ rotation


def test_j3_the_first_complete_sign_in_makes_the_device_known(
    device: IAMDevice, own: Actor
) -> None:
    assert rotate(device, 0, own) == 1
    stored = fresh()
    assert (stored.known, stored.generation, stored.last_ip) == (True, 1, "192.0.2.7")
    assert stored.rotated_at is not None


def test_j3_rotation_goes_on_from_whichever_is_newer(device: IAMDevice, own: Actor) -> None:
    assert rotate(device, 41, own) == 42  # somebody else signed in by this browser
    with clock.travel(GRACE):
        assert rotate(fresh(), 42, own) == 43


def test_j3_within_the_grace_nothing_is_written(device: IAMDevice, own: Actor) -> None:
    rotate(device, 0, own)
    before = fresh().last_seen_at
    with clock.travel(GRACE - timedelta(minutes=1)):
        assert rotate(fresh(), 1, own) is None
        assert fresh().last_seen_at == before


def test_j3_a_lost_answer_is_given_again_within_the_grace(device: IAMDevice, own: Actor) -> None:
    rotate(device, 0, own)
    with clock.travel(timedelta(minutes=1)):
        assert rotate(fresh(), 0, own) == 1
    assert fresh().generation == 1


def test_j3_of_two_sign_ins_that_saw_the_same_one_advances(device: IAMDevice, own: Actor) -> None:
    seen = Stored(device.id, known=False)
    assert [rotate(seen, 0, own), rotate(seen, 0, own)] == [1, None]
    assert fresh().generation == 1


def test_j3_a_generation_that_another_account_has_seen_counts_too(
    device: IAMDevice, own: Actor
) -> None:
    rotate(device, 5, own)
    at = clock.now() + GRACE
    assert devices.newest(device.browser_digest) == 6
    assert devices.is_stale(Stored(device.id, generation=1, newest=6), 5, at)
    assert not devices.is_stale(Stored(device.id, generation=1, newest=6), 6, at)


def test_j3_a_copy_that_was_found_out_takes_everything_from_the_device(
    device: IAMDevice, own: Actor
) -> None:
    rotate(device, 5, own)
    trust(own)
    with transaction():
        devices.distrust_copied(device.id, actor=own)
    assert (fresh().known, fresh().trusted_until) == (False, None)


def test_j3_a_revoked_device_does_not_rotate(device: IAMDevice, own: Actor) -> None:
    with transaction():
        devices.revoke_device(device, actor=own)
    assert rotate(fresh(), 0, own) is None
    assert not fresh().known


def test_k1_another_tenant_can_neither_rotate_nor_hold_a_device(
    device: IAMDevice, own: Actor, other_tenant: UUID
) -> None:
    rotate(device, 0, own)
    trust(own)
    stranger = own.acting_as(tenant_id=other_tenant)
    stored = fresh()
    with clock.travel(GRACE):
        assert rotate(stored, 1, stranger) is None
    assert not devices.hold_trust(stored, stranger)
    with tenant_scope(other_tenant):
        assert find_by_id(stored.user_id, BROWSER) == (None, None)
        assert devices.end_trust(stored.user_id) == 0


# ------------------------------------------------------------------------ trust


def trust(actor: Actor, days: int = 30) -> IAMDevice:
    with transaction():
        devices.trust(fresh().id, days=days, actor=actor)
    return fresh()


def test_f2_trust_needs_a_device_that_a_sign_in_has_made_known(
    device: IAMDevice, own: Actor
) -> None:
    with pytest.raises(NotFound):
        trust(own)
    rotate(device, 0, own)
    until = trust(own).trusted_until
    assert until is not None
    assert timedelta(days=29) < until - clock.now() <= timedelta(days=30)


def test_f2_trust_is_held_for_the_sign_in_that_relies_on_it(device: IAMDevice, own: Actor) -> None:
    rotate(device, 0, own)
    assert devices.hold_trust(fresh(), own)  # nothing to rely on, nothing to hold
    seen = trust(own)
    assert devices.hold_trust(seen, own)
    session().expunge(seen)
    with transaction():
        devices.end_trust(seen.user_id)
    assert not devices.hold_trust(seen, own)


def test_f2_the_person_ends_trust_in_one_or_all(ann: Someone, own: Actor, audit_rows: Any) -> None:
    for browser in (BROWSER, b"c" * 32):
        rotate(remember(ann, own, browser), 0, own)
    one, other = rows_of(IAMDevice)
    with transaction():
        for item in (one, other):
            devices.trust(item.id, days=30, actor=own)
    with transaction():
        assert devices.withdraw_trust(ann.id, one.id, actor=own) == 1
    assert [row.trusted_until is None for row in rows_of(IAMDevice)] == [True, False]
    with transaction():
        assert devices.withdraw_trust(ann.id, actor=own) == 1
        assert devices.withdraw_trust(ann.id, actor=own) == 0
    assert [row.details for row in audit_rows("DEVICE_TRUST_ENDED")] == [
        {"count": 1, "by": "tests"}
    ] * 2


def test_j3_removing_the_others_keeps_the_one_in_use(ann: Someone, own: Actor) -> None:
    for number in range(3):
        rotate(remember(ann, own, bytes([number]) * 32), 0, own)
    keep = rows_of(IAMDevice)[1].id
    with transaction():
        assert devices.revoke_others(ann.id, keep, actor=own) == 2
    assert [row.id for row in devices.list_devices(ann.id)] == [keep]
