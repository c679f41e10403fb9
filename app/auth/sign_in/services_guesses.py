"""Guesses at an account, of its password or of a sent code: counted alike (C4, AT-010).

The typed name decides what shows, whether an account bears it or not (AT-011). The
account's own counter, shared by its name and its e-mail address (AT-007), works in
silence. A known device has a counter of its own: strangers cannot end it, and its success
does not clear theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from ...audit import events
from ...audit.services_audit import DENIED, FAILURE, record
from ...core import clock
from ...core.actor import Actor
from ...core.db import transaction
from ...core.errors import TooManyAttempts
from ...notify.settings import NotifySettings
from ...risk import services_devices, services_limits
from ...risk.services_limits import Bucket, Charged, Refusal, bucket
from ..accounts.services_directory import login_key
from ..errors import InvalidCredentials
from ..identity import canonical_username, mask_identifier
from .services_login_rows import Account, Device

_OWN = {"login.name", "login.account", "login.device", "password.absolute"}


def buckets(
    username: str, user: Account | None, device: Device | None, actor: Actor
) -> list[Bucket]:
    """Return the counters of a guess at the account of a typed name."""
    if device is not None and is_known(device, actor):
        return [bucket("login.device", device.id, actor=actor)]
    return [
        bucket("login.name", name_key(username), actor=actor),
        bucket("login.account", whose(username, user), actor=actor, silent=True),
        Bucket("login.ip", services_limits.network_of(actor.ip)),
        bucket("login.tenant", actor=actor),
        Bucket("login.global", ""),
    ]


def is_known(device: Device, actor: Actor) -> bool:
    """Return whether the browser is one that the account was fully signed in from."""
    return device.known and not services_devices.is_stale(device, actor.generation, clock.now())


def whose(username: str, user: Account | None) -> object:
    """Return what the silent counters count: the account, or a name that none bears."""
    return user.id if user is not None else name_key(username)


def name_key(username: str) -> str:
    """Return what `login.name` counts a typed name by: every spelling of one name is one."""
    return ":".join(login_key(username) or ("none", canonical_username(username)))


def charge(username: str, counters: list[Bucket], actor: Actor) -> Charged:
    """Count one guess and commit it; return what a silent counter refuses, or the counts.

    Raises TooManyAttempts.
    """
    try:
        return services_limits.charge_counted(counters)
    except TooManyAttempts as error:
        with transaction():
            record(
                events.LOGIN_THROTTLED,
                status=DENIED,
                error=error.code,
                actor=actor,
                identifier=mask_identifier(username),
                scope=error.details["scope"],
                retry_after=error.retry_after,
            )
        raise


def refuse_unseen(username: str, user: Account | None, refusal: Refusal, actor: Actor) -> NoReturn:
    """Answer a guess that was not checked as if it was wrong. Raises InvalidCredentials."""
    # In the same steps as a wrong guess: the evidence is written once the work is rolled back.
    with transaction():
        record(
            events.LOGIN_THROTTLED,
            resource=("user_account", user.id) if user is not None else None,
            status=DENIED,
            error=TooManyAttempts.code,
            actor=actor,
            identifier=mask_identifier(username) if user is None else user.username,
            scope=refusal.scope,
            retry_after=refusal.retry_after,
        )
        raise InvalidCredentials


def record_failed(
    username: str, user: Account | None, reason: str, counts: Mapping[str, int], actor: Actor
) -> None:
    """Record a refused sign-in; what an unknown person typed is masked.

    `counts` are those of its charge: the guess that reaches a number worth an alarm records
    that, too. The counters give each number to one guess only, so it is told once.
    """
    resource = ("user_account", user.id) if user is not None else None
    identifier = mask_identifier(username) if user is None else user.username
    record(
        events.LOGIN_FAILED,
        resource=resource,
        status=FAILURE,
        error=InvalidCredentials.code,
        actor=actor,
        identifier=identifier,
        reason=reason,
    )
    for scope, count in _alarming(counts):
        mine = scope != "login.ip"
        record(
            events.LOGIN_FAILURES_REPEATED,
            resource=resource if mine else None,
            status=FAILURE,
            actor=actor,
            identifier=identifier if mine else None,
            scope=scope,
            count=count,
        )


def _alarming(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    settings = NotifySettings.current()
    limits = {
        "login.account": settings.AUDIT_NOTIFY_LOGIN_FAILURES,
        "login.device": settings.AUDIT_NOTIFY_LOGIN_FAILURES,
        "login.ip": settings.AUDIT_NOTIFY_LOGIN_FAILURES_PER_IP,
    }
    return [(scope, count) for scope, count in counts.items() if count == limits.get(scope)]


def settle(counters: list[Bucket]) -> None:
    """Forget the account's failures after a success; joins the transaction."""
    services_limits.clear_all([item for item in counters if item.scope in _OWN])
    shared = [item for item in counters if item.scope not in _OWN]
    if shared:
        services_limits.give_back(shared)
