"""Enrolment of second factors: begun, then confirmed by a code before it counts (D2, D8).

An unconfirmed factor is a row that counts for nothing and is forgotten after a
quarter of an hour. Routes demand fresh authentication; the person is told by mail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update

from ..audit import events
from ..audit.services_audit import record
from ..core import clock, signals
from ..core.actor import Actor
from ..core.crypto import keyring
from ..core.db import after_commit, session
from ..core.errors import Conflict, Forbidden, InvalidInput, NotFound
from ..core.i18n import _, speaking
from ..core.ids import new_id
from ..notify import messages
from ..notify.messages import EMAIL
from ..notify.services_caps import check_send_caps
from . import services_challenges, services_notices, services_recovery_codes
from .errors import CodeInvalid
from .factors import ENROL, Attempt, factors
from .factors.totp import Totp, new_secret, provisioning_uri, secret_context
from .identity import check_email
from .links import public_url
from .models import IAMMfaMethod, IAMUserAccount
from .services_factors import RECOVERY, label_of
from .services_mfa import Issued, send_challenge
from .services_mfa_verify import Proved, count_attempt, redeem
from .settings import AuthSettings
from .settings_mfa import MfaSettings

PENDING_MINUTES = 15
MAX_FACTORS = 10
_M = IAMMfaMethod


@dataclass(frozen=True, slots=True)
class TotpSetup:
    """What an authenticator app needs; shown while unconfirmed, to its owner only."""

    method_id: UUID
    secret: str = field(repr=False)
    uri: str = field(repr=False)
    issuer: str
    account: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A confirmed factor; `recovery_codes` in clear where this was the first."""

    method: IAMMfaMethod
    proved: Proved
    recovery_codes: list[str] = field(default_factory=list, repr=False)


def begin_totp(user: IAMUserAccount, *, actor: Actor) -> IAMMfaMethod:
    """Make a new secret for an authenticator app; an unconfirmed older one is dropped.

    Raises Forbidden where the factor or the person may not be enrolled, Conflict.
    """
    row = _begin(user, Totp.name, None, actor)
    row.secret = keyring().encrypt(new_secret().encode(), secret_context(row.id))
    return row


def begin_channel(
    user: IAMUserAccount,
    method: str,
    destination: str,
    *,
    name: str = "",
    session_id: UUID | None,
    actor: Actor,
) -> Issued:
    """Begin to enrol a mail address or phone number and queue the code that proves it.

    Raises InvalidInput for a destination that cannot be used, Forbidden, Conflict,
    TooManyAttempts. The caller delivers the code after commit.
    """
    exact = _destination(method, destination, actor)
    _refuse_known(user, method, exact)
    # Whatever the destination: else a session could have messages sent to any number (AT-085).
    services_recovery_codes.lock_account(user)
    before = pending(user, method)
    if before is not None:
        services_challenges.refuse_too_soon(user, before)
    row = _begin(user, method, exact, actor)
    row.name = name or row.name
    session().flush()
    return send_challenge(user, row, ENROL, session_id=session_id, actor=actor)


def resend(user: IAMUserAccount, method: str, *, session_id: UUID | None, actor: Actor) -> Issued:
    """Queue another code for the pending enrolment. Raises NotFound, TooManyAttempts."""
    row = _pending_or_gone(user, method)
    services_challenges.refuse_too_soon(user, row)
    return send_challenge(user, row, ENROL, session_id=session_id, actor=actor)


def pending(user: IAMUserAccount, method: str) -> IAMMfaMethod | None:
    """Return the factor whose enrolment was begun and is not too old, if any."""
    return session().scalar(
        select(_M)
        .where(
            _M.user_id == user.id,
            _M.method == method,
            _M.confirmed_at.is_(None),
            _M.created_at > clock.now() - timedelta(minutes=PENDING_MINUTES),
        )
        .order_by(_M.id.desc())
        .limit(1)
    )


def totp_setup(user: IAMUserAccount, row: IAMMfaMethod) -> TotpSetup:
    """Return what the app needs. Raises NotFound once confirmed: never shown again (AT-051)."""
    if row.user_id != user.id or row.confirmed_at is not None or row.secret is None:
        raise NotFound
    secret = keyring().decrypt(row.secret, secret_context(row.id)).decode()
    issuer = MfaSettings.current().MFA_ISSUER or AuthSettings.current().IAM_BRAND_NAME
    account = user.email or user.username
    uri = provisioning_uri(secret, account=account, issuer=issuer)
    return TotpSetup(row.id, secret, uri, issuer, account)


def begin_confirmation(
    user: IAMUserAccount, method: str, code: str, *, session_id: UUID | None, actor: Actor
) -> Attempt:
    """Count a try at the pending factor and commit the count.

    Raises NotFound where nothing is pending, CodeInvalid, TooManyAttempts.
    """
    row = _pending_or_gone(user, method)
    sent = factors().get(method).channel is not None
    opened = services_challenges.current(user.id, ENROL, session_id) if sent else None
    asked = opened is not None and opened.mfa_method_id == row.id
    attempt = Attempt(
        method=method,
        user_id=user.id,
        purpose=ENROL,
        session_id=session_id,
        at=clock.now(),
        code=code,
        method_id=row.id,
        challenge_id=opened.id if opened is not None and asked else None,
    )
    return count_attempt(attempt, sent=sent, actor=actor)


def confirm(user: IAMUserAccount, attempt: Attempt, *, name: str = "", actor: Actor) -> Enrolled:
    """Turn a pending factor on, if its code is right, and tell the person.

    Raises CodeInvalid; Forbidden where the attempt is somebody else's.
    """
    if attempt.user_id != user.id or attempt.purpose != ENROL:
        raise Forbidden(code="mfa.other_user")
    proved = redeem(attempt, actor=actor)
    services_recovery_codes.lock_account(user)
    row = _turn_on(attempt, name)
    codes = services_recovery_codes.create_first(user, actor=actor)
    record(events.MFA_ENROLLED, resource=row, subject_id=user.id, actor=actor,
           method=row.method, name=row.name)  # fmt: skip
    _tell(user, row, actor)
    return Enrolled(row, proved, codes)


def _begin(
    user: IAMUserAccount, method: str, destination: str | None, actor: Actor
) -> IAMMfaMethod:
    _check_allowed(user, method)
    session().execute(
        delete(_M).where(_M.user_id == user.id, _M.method == method, _M.confirmed_at.is_(None)),
        execution_options={"synchronize_session": False},
    )
    row = IAMMfaMethod(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        method=method,
        name=label_of(method),
        destination=destination,
        created_at=clock.now(),
    )
    session().add(row)
    record(events.MFA_ENROLMENT_BEGUN, resource=row, subject_id=user.id, actor=actor, method=method)
    return row


def _check_allowed(user: IAMUserAccount, method: str) -> None:
    if method == RECOVERY or method not in factors():
        raise NotFound
    if method not in MfaSettings.current().MFA_METHODS:
        raise Forbidden(_("This kind of second step is not allowed here"), code="mfa.not_allowed")
    if user.email and not user.email_verified:
        # Else somebody could fence in an address that is not theirs (AT-050).
        raise Forbidden(
            _("Please confirm your e-mail address first"), code="account.email_unverified"
        )
    count = session().scalar(
        select(func.count(_M.id)).where(_M.user_id == user.id, _M.confirmed_at.is_not(None))
    )
    if (count or 0) >= MAX_FACTORS:
        raise Conflict(_("Remove one of your second steps first"), code="mfa.too_many_factors")


def _destination(method: str, text: str, actor: Actor) -> str:
    channel = factors().get(method).channel if method in factors() else None
    if channel is None:
        raise NotFound
    exact = check_email(text, field="destination") if channel == EMAIL else text
    try:
        return check_send_caps(channel, exact, actor)
    except InvalidInput as refusal:
        raise InvalidInput(refusal.title, code=refusal.code, field="destination") from None


def _refuse_known(user: IAMUserAccount, method: str, destination: str) -> None:
    found = session().scalar(
        select(_M.id).where(
            _M.user_id == user.id,
            _M.method == method,
            _M.destination == destination,
            _M.confirmed_at.is_not(None),
        )
    )
    if found is not None:
        raise InvalidInput(_("You already use this one"), code="mfa.known", field="destination")


def _pending_or_gone(user: IAMUserAccount, method: str) -> IAMMfaMethod:
    row = pending(user, method)
    if row is None:
        raise NotFound(_("That took too long. Please start again"), code="mfa.enrolment_gone")
    return row


def _turn_on(attempt: Attempt, name: str) -> IAMMfaMethod:
    values = {"confirmed_at": attempt.at} | ({"name": name} if name else {})
    result = session().execute(
        update(_M)
        .where(
            _M.id == attempt.method_id,
            _M.user_id == attempt.user_id,
            _M.confirmed_at.is_(None),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if result.rowcount != 1:  # type: ignore[attr-defined]
        raise CodeInvalid(field="code")
    return session().scalars(
        select(_M).where(_M.id == attempt.method_id).execution_options(populate_existing=True)
    ).one()  # fmt: skip


def _tell(user: IAMUserAccount, row: IAMMfaMethod, actor: Actor) -> None:
    user_id, method = str(user.id), row.method

    def send() -> None:
        signals.factor_changed.send(user_id, method=method, change="enrolled")

    if user.email:
        with speaking(user.language):
            message = messages.factor_added(
                user.email,
                factor=label_of(row.method),
                brand=services_notices.brand(),
                at=clock.now(),
                link=public_url("iam_account.security"),
            )
        services_notices.send(user, message, actor=actor)
    after_commit(send)
