"""Challenges: bound to what asked for them, good once, for a short time (AT-250)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.auth.models import IAMWebauthnChallenge
from app.auth.webauthn import services_webauthn_challenges as challenges
from app.auth.webauthn.services_webauthn_challenges import PASSKEY, REGISTER, Bound
from app.core import clock
from app.core.db import transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from tests.conftest import Someone
from tests.support.people import rows_of

BROWSER = b"b" * 32


def issue(bound: Bound) -> bytes:
    with transaction():
        return challenges.issue(bound)


@pytest.fixture
def bound(scoped: UUID, make_user: Any) -> Bound:
    """Return what a challenge is bound to where everything is known."""
    ann: Someone = make_user("ann")
    return Bound("account.security", BROWSER, ann.id, new_id())


def test_at_250_a_challenge_has_256_bits_and_is_kept_as_a_digest(bound: Bound) -> None:
    challenge = issue(bound)
    assert len(challenge) == 32
    [row] = rows_of(IAMWebauthnChallenge)
    assert row.challenge_digest == challenges.digest_of(challenge) != challenge
    assert issue(bound) != challenge


def test_at_250_a_challenge_is_used_up_once(bound: Bound) -> None:
    challenge = issue(bound)
    assert challenges.use_up(challenge, bound) == challenges.digest_of(challenge)
    assert challenges.use_up(challenge, bound) is None


def test_at_250_a_challenge_lives_five_minutes(bound: Bound) -> None:
    late, early = issue(bound), issue(bound)
    with clock.travel(timedelta(seconds=299)):
        assert challenges.use_up(early, bound) is not None
    with clock.travel(timedelta(seconds=301)):
        assert challenges.use_up(late, bound) is None


def test_at_250_a_challenge_is_for_its_browser_purpose_account_and_session(
    bound: Bound, make_user: Any
) -> None:
    challenge = issue(bound)
    eve: Someone = make_user("eve")
    for other in (
        replace(bound, browser=b"x" * 32),
        replace(bound, purpose="admin.users"),
        replace(bound, purpose=REGISTER),
        replace(bound, purpose=PASSKEY, user_id=None, session_id=None),
        replace(bound, user_id=eve.id),
        replace(bound, user_id=None),
        replace(bound, session_id=new_id()),
        replace(bound, session_id=None),
    ):
        assert challenges.use_up(challenge, other) is None
    assert challenges.use_up(challenge, bound) is not None


def test_at_250_a_challenge_of_one_tenant_is_none_of_another(
    bound: Bound, other_tenant: UUID
) -> None:
    open_to_all = Bound(PASSKEY, BROWSER)
    challenge = issue(open_to_all)
    with tenant_scope(other_tenant):
        assert challenges.use_up(challenge, open_to_all) is None
    assert challenges.use_up(challenge, open_to_all) is not None


@pytest.mark.parametrize("guess", [b"", b"x", b"x" * 32, b"x" * 1024])
def test_at_250_what_was_never_issued_is_no_challenge(bound: Bound, guess: bytes) -> None:
    issue(bound)
    assert challenges.use_up(guess, bound) is None


def test_at_250_a_browser_keeps_five_challenges_of_a_purpose(bound: Bound) -> None:
    others = replace(bound, purpose="admin.users"), replace(bound, browser=b"y" * 32)
    kept = [(issue(item), item) for item in others]
    made = [issue(bound) for _number in range(7)]
    assert [challenges.use_up(item, bound) is not None for item in made] == [False] * 2 + [True] * 5
    assert all(challenges.use_up(challenge, item) for challenge, item in kept)


def test_a_browser_s_stale_challenges_go_when_it_asks_again(bound: Bound) -> None:
    challenges.use_up(issue(bound), bound)
    issue(bound)
    with clock.travel(timedelta(minutes=6)):
        issue(bound)
        assert len(rows_of(IAMWebauthnChallenge)) == 1


def test_a_used_up_challenge_is_taken_once_by_whom_it_belongs_to(bound: Bound) -> None:
    digest = challenges.digest_of(issue(bound))
    assert bound.user_id is not None
    mine = (digest, bound.purpose, bound.user_id, bound.session_id)
    with transaction():
        assert not challenges.take(*mine)  # not used up yet
    challenge = issue(bound)
    digest = challenges.use_up(challenge, bound) or b""
    with transaction():
        assert not challenges.take(digest, "admin.users", bound.user_id, bound.session_id)
        assert not challenges.take(digest, bound.purpose, new_id(), bound.session_id)
        assert not challenges.take(digest, bound.purpose, bound.user_id, None)
        assert challenges.take(digest, bound.purpose, bound.user_id, bound.session_id)
        assert not challenges.take(digest, bound.purpose, bound.user_id, bound.session_id)
