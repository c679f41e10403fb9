"""Signing in with a passkey and nothing else: discoverable, with PIN or biometrics (E1).

A producer of the sign-in gate. What it costs is counted: the challenge is used up, one
look-up finds key, account, tenant and device, the gate admits, the key is noted (X3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Table, and_, bindparam, select, update

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock
from ...core.actor import Actor
from ...core.db import end_read, run_prepared, transaction
from ...core.i18n import _
from ...core.scoping import current_tenant_id
from ...risk.models import IAMDevice
from ...tenancy.models import IAMTenant
from ...tenancy.services_settings import effective
from ..errors import InvalidCredentials, PasskeyRefused
from ..models import IAMMfaMethod, IAMUserAccount, IAMWebauthnCredential
from ..sessions.services_sessions import SignIn
from ..sign_in import services_gate
from ..sign_in import services_login_rows as rows
from ..sign_in.services_gate import Entry, Shown
from ..sign_in.services_login_rows import Account, Device
from . import services_webauthn_challenges, services_webauthn_use
from .services_webauthn_challenges import PASSKEY, Bound
from .settings_webauthn import WebauthnSettings
from .webauthn_checks import Used, check_owner, verify_assertion
from .webauthn_parsing import Assertion, credential_digest

_K = cast(Table, IAMWebauthnCredential.__table__)
_M = cast(Table, IAMMfaMethod.__table__)
_U = cast(Table, IAMUserAccount.__table__)
_T = cast(Table, IAMTenant.__table__)
_D = cast(Table, IAMDevice.__table__)
_KEY_NAMES = (
    "id", "mfa_method_id", "public_key", "algorithm", "sign_count", "user_verified",
    "backup_eligible", "attestation_trusted",
)  # fmt: skip
_REASON = "the tenant in scope is a parameter of the statement"
_FIND = (
    select(
        *rows.COLUMNS,
        *rows.DEVICE_COLUMNS,
        *(_K.c[name].label(f"key_{name}") for name in _KEY_NAMES),
        _U.c.webauthn_handle.label("handle"),
    )
    .select_from(_K)
    # A key without its factor is a removed one.
    .join(_M, and_(_M.c.tenant_id == _K.c.tenant_id, _M.c.id == _K.c.mfa_method_id))
    .join(_U, and_(_U.c.tenant_id == _K.c.tenant_id, _U.c.id == _K.c.user_id))
    .join(_T, _T.c.id == _K.c.tenant_id)
    .outerjoin(_D, rows.device_join())
    .where(
        _K.c.tenant_id == bindparam("tenant"),
        _K.c.credential_digest == bindparam("digest"),
        _M.c.confirmed_at.is_not(None),
    )
)
_NOTE_USE = (
    update(_K)
    .where(_K.c.tenant_id == bindparam("tenant"), _K.c.id == bindparam("key"))
    .values(
        sign_count=bindparam("count"),
        backup_state=bindparam("backed_up"),
        last_used_at=bindparam("at"),
    )
)


@dataclass(frozen=True, slots=True)
class _Key:
    """The stored credential of one sign-in."""

    id: Any
    mfa_method_id: Any
    public_key: bytes
    algorithm: int
    sign_count: int
    user_verified: bool
    backup_eligible: bool
    attestation_trusted: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """Whose credential it is."""

    user: Account
    device: Device | None
    key: _Key
    handle: bytes | None


def sign_in(answer: Assertion, entry: Entry, *, actor: Actor) -> SignIn:
    """Check a passkey and open a session; owns its transactions.

    Raises PasskeyRefused (one sentence for every reason), SessionLimitReached.
    """
    bound = Bound(PASSKEY, entry.browser)
    digest = services_webauthn_challenges.use_up(answer.client_data.challenge, bound)
    found = _find(answer, entry.browser) if digest is not None else None
    end_read()
    try:
        key_use = _verified(answer, found, digest)
    except PasskeyRefused as refusal:
        _refuse(found, refusal, actor)
        raise
    assert found is not None  # noqa: S101 - narrows the type: nothing else was verified
    services_gate.grants_of(found.user)  # resolved inside the transaction, not remembered
    end_read()
    with transaction():
        try:
            return _enter(found, key_use, entry, actor)
        except (InvalidCredentials, PasskeyRefused):
            _record(found, "account_status", actor)
            raise PasskeyRefused(reason="account_status") from None


def _find(answer: Assertion, browser: bytes) -> _Found | None:
    parameters = {
        "tenant": current_tenant_id(),
        "digest": credential_digest(answer.credential_id),
        "browser": browser,
    }
    row = run_prepared(_FIND, parameters, reason=_REASON).first()
    if row is None:
        return None
    key = _Key(**{name: row._mapping[f"key_{name}"] for name in _KEY_NAMES})
    return _Found(rows.account_of(row), rows.device_of(row), key, row._mapping["handle"])


def _verified(answer: Assertion, found: _Found | None, digest: bytes | None) -> Used:
    if digest is None:
        raise PasskeyRefused(reason="challenge")
    if found is None:
        raise PasskeyRefused(reason="unknown_credential")
    expected = services_webauthn_use.expected(digest, user_verification=True)
    check_owner(answer, found.handle, required=True)
    used = verify_assertion(answer, services_webauthn_use.known(found.key), expected)
    if not found.key.user_verified:
        # Who proved possession only must not come to two factors by one act (Level 3, 7.2;
        # NIST SP 800-63B-4 3.1.7.2): the first use with a PIN counts as second step alone.
        raise PasskeyRefused(
            _("Please sign in with your password this time. After that the key works alone."),
            code="webauthn.password_first",
            reason="not_initialised",
        )
    if used.clone_suspected and effective(WebauthnSettings).WEBAUTHN_REFUSE_CLONES:
        raise PasskeyRefused(reason="clone")
    return used


def _enter(found: _Found, used: Used, entry: Entry, actor: Actor) -> SignIn:
    key = found.key
    acr = services_webauthn_use.acr_of(
        user_verified=used.user_verified,
        backup_eligible=key.backup_eligible,
        trusted=key.attestation_trusted,
    )
    amr = services_webauthn_use.amr_of(backup_eligible=key.backup_eligible)
    shown = Shown(services_gate.PASSKEY, (amr, "user"), acr)
    signed = services_gate.enter(found.user, shown, entry, found.device, actor=actor)
    parameters = {
        "tenant": current_tenant_id(),
        "key": key.id,
        "count": used.sign_count,
        "backed_up": used.backup_state,
        "at": clock.now(),
    }
    if not run_prepared(_NOTE_USE, parameters, reason=_REASON).rowcount:
        raise PasskeyRefused(reason="removed")
    if used.clone_suspected:
        services_webauthn_use.suspect_clone(key.mfa_method_id, actor=actor)
    return signed


def _refuse(found: _Found | None, refusal: PasskeyRefused, actor: Actor) -> None:
    reason = str(refusal.details["reason"])
    with transaction():
        if found is not None and reason == "clone":
            services_webauthn_use.suspect_clone(found.key.mfa_method_id, actor=actor)
        _record(found, reason, actor)


def _record(found: _Found | None, reason: str, actor: Actor) -> None:
    known: dict[str, Any] = {} if found is None else {"identifier": found.user.username}
    record(
        events.LOGIN_FAILED,
        resource=("user_account", found.user.id) if found is not None else None,
        status=FAILURE,
        error=PasskeyRefused.code,
        actor=actor,
        reason=reason,
        **known,
    )
