"""Registration of a passkey or security key (WebAuthn Level 3, 7.1; D8, E1).

Begun under the account's lock; the answer's challenge is used up before anything is
checked; the new key is a factor at once and brings along what every new factor does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock, rng
from ...core.actor import Actor
from ...core.db import session, transaction
from ...core.errors import Conflict, Forbidden
from ...core.i18n import _
from ...core.ids import new_id
from ...tenancy.services_settings import effective
from .. import services_webauthn
from ..errors import PasskeyRefused
from ..identity import MAX_NAME, check_display_name
from ..mfa import services_mfa_enrol, services_recovery_codes
from ..mfa.services_factors import WEBAUTHN
from ..mfa.services_mfa_enrol import Enrolled
from ..mfa.services_mfa_verify import Proved
from ..models import IAMMfaMethod, IAMUserAccount, IAMWebauthnCredential
from . import aaguids, services_webauthn_challenges, services_webauthn_use
from .relying_party import relying_party
from .services_webauthn_challenges import REGISTER, Bound
from .settings_webauthn import WebauthnSettings
from .webauthn_attestation import check_attestation, load_roots
from .webauthn_checks import verify_registration
from .webauthn_keys import ALGORITHMS, encode_key
from .webauthn_parsing import Registration, credential_digest, encode

HANDLE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Checked:
    """A registration that was held to everything; it belongs to one person and session."""

    user_id: UUID
    session_id: UUID | None
    answer: Registration = field(repr=False)
    algorithm: int
    trusted: bool


def begin(
    user: IAMUserAccount, *, session_id: UUID | None, browser: bytes, actor: Actor
) -> dict[str, Any]:
    """Return what the browser is asked to make a key; joins the transaction.

    Raises Forbidden, Conflict and NotFound as other factors do, BadRequest at an address
    that no key can be bound to.
    """
    party = relying_party()
    services_recovery_codes.lock_account(user)
    services_mfa_enrol.check_allowed(user, WEBAUTHN)
    handle = _handle(user)
    bound = Bound(REGISTER, browser, user.id, session_id)
    challenge = services_webauthn_challenges.issue(bound)
    record(events.MFA_ENROLMENT_BEGUN, resource=user, actor=actor, method=WEBAUTHN)
    policy = effective(WebauthnSettings)
    return {
        "rp": {"id": party.id, "name": party.name},
        "user": {
            "id": encode(handle),
            "name": user.email or user.username,
            "displayName": user.label,
        },
        "challenge": encode(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in ALGORITHMS],
        "timeout": services_webauthn.timeout(),
        "excludeCredentials": services_webauthn.descriptors(user.id),
        "authenticatorSelection": {
            "residentKey": policy.WEBAUTHN_RESIDENT_KEY,
            "requireResidentKey": policy.WEBAUTHN_RESIDENT_KEY == "required",
            "userVerification": policy.WEBAUTHN_USER_VERIFICATION,
        },
        "attestation": policy.WEBAUTHN_ATTESTATION,
        "extensions": {"credProps": True},
    }


def check(
    user: IAMUserAccount,
    answer: Registration,
    *,
    session_id: UUID | None,
    browser: bytes,
    actor: Actor,
) -> Checked:
    """Use the challenge up and hold the answer to everything; owns its transactions.

    Raises PasskeyRefused.
    """
    bound = Bound(REGISTER, browser, user.id, session_id)
    digest = services_webauthn_challenges.use_up(answer.client_data.challenge, bound)
    try:
        return _held(user, answer, digest, session_id)
    except PasskeyRefused as refusal:
        with transaction():
            _record_refused(user, str(refusal.details["reason"]), actor)
        raise


def enrol(user: IAMUserAccount, checked: Checked, *, name: str, actor: Actor) -> Enrolled:
    """Keep a checked key as a factor of the person's; joins the transaction.

    Raises InvalidInput for a name that cannot be used, Conflict for a key that is
    registered already, here or in any tenant (AT-259), and what `begin` raises.
    """
    if checked.user_id != user.id:
        raise Forbidden(code="mfa.other_user")
    services_recovery_codes.lock_account(user)
    services_mfa_enrol.check_allowed(user, WEBAUTHN)
    name = check_display_name(name, field="name", longest=MAX_NAME)
    row = _keep(user, checked, name, actor)
    data = checked.answer.authenticator_data
    acr = services_webauthn_use.acr_of(
        user_verified=data.user_verified,
        backup_eligible=data.backup_eligible,
        trusted=checked.trusted,
    )
    amr = services_webauthn_use.amr_of(backup_eligible=data.backup_eligible)
    proved = Proved(WEBAUTHN, acr, row.created_at, shown=amr)
    return services_mfa_enrol.settle(user, row, proved, session_id=checked.session_id, actor=actor)


def _handle(user: IAMUserAccount) -> bytes:
    # As stored now, under the lock: two first registrations at once share one (AT-268).
    account = IAMUserAccount
    own = select(account.webauthn_handle).where(account.id == user.id)
    found = session().scalar(own.with_for_update())
    if found is None:
        found = user.webauthn_handle = rng.random_bytes(HANDLE_BYTES)
    return found


def _held(
    user: IAMUserAccount, answer: Registration, digest: bytes | None, session_id: UUID | None
) -> Checked:
    if digest is None:
        raise PasskeyRefused(reason="challenge")
    policy = effective(WebauthnSettings)
    demanded = policy.WEBAUTHN_USER_VERIFICATION == "required"
    expected = services_webauthn_use.expected(digest, user_verification=demanded)
    algorithm = verify_registration(answer, expected)
    allowed = policy.WEBAUTHN_ALLOWED_AAGUIDS
    direct = policy.WEBAUTHN_ATTESTATION == "direct"
    if allowed and str(answer.credential.aaguid) not in allowed:
        raise _unwanted("aaguid")
    if direct:
        try:
            check_attestation(answer, load_roots(policy.WEBAUTHN_TRUSTED_ROOTS), clock.now())
        except PasskeyRefused:
            raise _unwanted("attestation") from None
    return Checked(user.id, session_id, answer, algorithm, direct)


def _unwanted(reason: str) -> PasskeyRefused:
    text = _("This kind of authenticator is not accepted here. Please use another one.")
    return PasskeyRefused(text, code="webauthn.authenticator", reason=reason)


def _keep(user: IAMUserAccount, checked: Checked, name: str, actor: Actor) -> IAMMfaMethod:
    answer, at = checked.answer, clock.now()
    data, key = answer.authenticator_data, answer.credential
    synced = data.backup_eligible
    method = IAMMfaMethod(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        method=WEBAUTHN,
        name=name or aaguids.default_name(key.aaguid, answer.transports, synced=synced),
        created_at=at,
        confirmed_at=at,
    )
    credential = IAMWebauthnCredential(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        mfa_method_id=method.id,
        credential_digest=credential_digest(key.credential_id),
        credential_id=key.credential_id,
        public_key=encode_key(key.public_key),
        algorithm=checked.algorithm,
        sign_count=data.sign_count,
        aaguid=key.aaguid,
        transports=list(answer.transports),
        discoverable=answer.discoverable,
        user_verified=data.user_verified,
        backup_eligible=data.backup_eligible,
        backup_state=data.backup_state,
        attestation_format=answer.attestation.fmt,
        attestation_trusted=checked.trusted,
    )
    try:
        with session().begin_nested():
            session().add(method)
            session().flush()
            session().add(credential)
    except IntegrityError:  # the unique digest is the judge, over all tenants
        _record_refused(user, "known", actor)
        raise Conflict(_("This passkey is already registered"), code="webauthn.known") from None
    return method


def _record_refused(user: IAMUserAccount, reason: str, actor: Actor) -> None:
    record(
        events.WEBAUTHN_REGISTRATION_REFUSED,
        resource=user,
        status=FAILURE,
        error=PasskeyRefused.code,
        actor=actor,
        reason=reason,
    )
