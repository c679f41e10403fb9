"""Enrolment of second factors: begun, then confirmed by a code before it counts (D2, D8).

An unconfirmed factor counts for nothing and is forgotten after a quarter of an hour.
It is shown to and confirmed by the session that began it, no other (AT-043). Routes
demand fresh authentication; the person is told by mail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from ...audit import events
from ...audit.services_audit import record
from ...authz import services_rbac
from ...core import clock, signals
from ...core.actor import Actor
from ...core.crypto import keyring
from ...core.db import after_commit, session
from ...core.errors import Conflict, Forbidden, InvalidInput, NotFound
from ...core.i18n import _, speaking
from ...core.ids import new_id
from ...notify import messages
from ...notify.messages import EMAIL
from ...notify.services_caps import check_send_caps
from ...risk import services_devices
from ...tenancy.services_settings import effective
from ..accounts import services_notices
from ..errors import CodeInvalid
from ..factors import AAL2, ENROL, Attempt, factors
from ..factors.totp import Totp, new_secret, provisioning_uri, secret_context
from ..identity import MAX_NAME, check_display_name, check_email
from ..models import IAMAuthSession, IAMMfaMethod, IAMUserAccount
from ..services_mfa import Issued, send_challenge
from ..sessions import services_sessions
from ..sessions.services_session_lookup import ACTIVE, PENDING
from ..settings import AuthSettings
from ..sign_in import services_policy
from ..web.links import public_url
from . import services_challenges, services_recovery_codes
from .services_factors import RECOVERY, active_methods, assurance_of, label_of, reaches
from .services_mfa_verify import Proved, count_attempt, redeem
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
    """A confirmed factor; where it was the first: recovery codes in clear, sessions that ended."""

    method: IAMMfaMethod
    proved: Proved
    recovery_codes: list[str] = field(default_factory=list, repr=False)
    sessions_ended: int = 0


def begin_totp(user: IAMUserAccount, *, session_id: UUID | None, actor: Actor) -> IAMMfaMethod:
    """Make a new secret for an app; an unconfirmed older one of this session is dropped.

    Raises Forbidden where the factor or the person may not be enrolled, Conflict.
    """
    services_recovery_codes.lock_account(user)
    row = _begin(user, Totp.name, None, session_id, actor)
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
    services_recovery_codes.lock_account(user)
    _hold_pause(user, method)
    row = _begin(user, method, exact, session_id, actor)
    row.name = _checked(name) or row.name
    session().flush()
    return send_challenge(user, row, ENROL, session_id=session_id, actor=actor)


def resend(user: IAMUserAccount, method: str, *, session_id: UUID | None, actor: Actor) -> Issued:
    """Queue another code for the pending enrolment. Raises NotFound, TooManyAttempts."""
    services_recovery_codes.lock_account(user)
    row = _pending_or_gone(user, method, session_id)
    _hold_pause(user, method)
    return send_challenge(user, row, ENROL, session_id=session_id, actor=actor)


def pending(user: IAMUserAccount, method: str, *, session_id: UUID | None) -> IAMMfaMethod | None:
    """Return the factor that this session began to enrol not long ago, if any."""
    return session().scalar(
        select(_M)
        .where(*_unconfirmed(user, method), _M.session_id == session_id, _M.created_at > _oldest())
        .order_by(_M.id.desc())
        .limit(1)
    )


def totp_setup(user: IAMUserAccount, row: IAMMfaMethod, *, session_id: UUID | None) -> TotpSetup:
    """Return what the app needs.

    Raises NotFound once confirmed, never shown again (AT-051), and in another session.
    """
    if (row.user_id, row.session_id) != (user.id, session_id):
        raise NotFound
    if row.confirmed_at is not None or row.secret is None:
        raise NotFound
    secret = keyring().decrypt(row.secret, secret_context(row.id)).decode()
    issuer = MfaSettings.current().MFA_ISSUER or effective(AuthSettings).IAM_BRAND_NAME
    account = user.email or user.username
    uri = provisioning_uri(secret, account=account, issuer=issuer)
    return TotpSetup(row.id, secret, uri, issuer, account)


def begin_confirmation(
    user: IAMUserAccount, method: str, code: str, *, session_id: UUID | None, actor: Actor
) -> Attempt:
    """Count a try at the pending factor and commit the count.

    Raises NotFound where nothing is pending, CodeInvalid, TooManyAttempts.
    """
    row = _pending_or_gone(user, method, session_id)
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

    What other sessions had begun is dropped. Raises InvalidInput for a name that cannot
    be used, CodeInvalid; Forbidden where the attempt is somebody else's.
    """
    if attempt.user_id != user.id or attempt.purpose != ENROL:
        raise Forbidden(code="mfa.other_user")
    name = _checked(name)
    # The account before its factors, as everywhere: else two of these could deadlock.
    services_recovery_codes.lock_account(user)
    proved = redeem(attempt, actor=actor)
    row = _turn_on(attempt, name)
    return settle(user, row, proved, session_id=attempt.session_id, actor=actor)


def settle(
    user: IAMUserAccount,
    row: IAMMfaMethod,
    proved: Proved,
    *,
    session_id: UUID | None,
    actor: Actor,
) -> Enrolled:
    """Do what a new factor of any kind brings along; the account is locked already.

    Other sessions' pending enrolments go, trust in devices ends, and with a first factor the
    other sessions; first recovery codes are made, the person is told.
    """
    _drop(_M.user_id == user.id, _M.confirmed_at.is_(None),
          _M.session_id.is_distinct_from(session_id))  # fmt: skip
    _ask_for_it(row, session_id)
    services_devices.end_trust(user.id)
    user.mfa_enrolment_due = False
    services_rbac.bump_user(user.id)  # a sign-in under way saw no factor yet: it is refused
    ended = _end_others(user, session_id, actor)
    codes = services_recovery_codes.create_first(user, actor=actor)
    record(events.MFA_ENROLLED, resource=row, subject_id=user.id, actor=actor,
           method=row.method, name=row.name)  # fmt: skip
    _tell(user, row, actor)
    return Enrolled(row, proved, codes, ended)


def _begin(
    user: IAMUserAccount,
    method: str,
    destination: str | None,
    session_id: UUID | None,
    actor: Actor,
) -> IAMMfaMethod:
    check_allowed(user, method)
    # Another session's row stays: neither of the two may drop what the other enrols.
    forgotten = or_(_M.session_id == session_id, _M.created_at <= _oldest())
    _drop(*_unconfirmed(user, method), forgotten)
    row = IAMMfaMethod(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        method=method,
        name=label_of(method),
        destination=destination,
        session_id=session_id,
        created_at=clock.now(),
    )
    session().add(row)
    record(events.MFA_ENROLMENT_BEGUN, resource=row, subject_id=user.id, actor=actor, method=method)
    return row


def _unconfirmed(user: IAMUserAccount, method: str) -> list[ColumnElement[bool]]:
    return [_M.user_id == user.id, _M.method == method, _M.confirmed_at.is_(None)]


def _oldest() -> datetime:
    return clock.now() - timedelta(minutes=PENDING_MINUTES)


def _drop(*which: ColumnElement[bool]) -> None:
    session().execute(delete(_M).where(*which), execution_options={"synchronize_session": False})


def _hold_pause(user: IAMUserAccount, method: str) -> None:
    # Whatever the session and the destination: else a person could have messages sent to
    # any number, one after the other (AT-085).
    begun = select(_M).where(*_unconfirmed(user, method), _M.created_at > _oldest())
    for row in session().scalars(begun.order_by(_M.id)).all():
        services_challenges.refuse_too_soon(user, row)


def _checked(name: str) -> str:
    return check_display_name(name, field="name", longest=MAX_NAME)


def check_allowed(user: IAMUserAccount, method: str) -> None:
    """Refuse a factor that may not be enrolled here, or by this person now.

    Raises NotFound, Forbidden, Conflict.
    """
    if method == RECOVERY or method not in factors():
        raise NotFound
    if method not in effective(MfaSettings).MFA_METHODS:
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


def _pending_or_gone(user: IAMUserAccount, method: str, session_id: UUID | None) -> IAMMfaMethod:
    row = pending(user, method, session_id=session_id)
    if row is None:
        raise NotFound(_("That took too long. Please start again"), code="mfa.enrolment_gone")
    return row


def _turn_on(attempt: Attempt, name: str) -> IAMMfaMethod:
    values = {"confirmed_at": attempt.at, "session_id": None} | ({"name": name} if name else {})
    result = session().execute(
        update(_M)
        .where(
            _M.id == attempt.method_id,
            _M.user_id == attempt.user_id,
            _M.session_id == attempt.session_id,
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


def _ask_for_it(row: IAMMfaMethod, session_id: UUID | None) -> None:
    # Other sign-ins that were to enrol a factor must show this one instead: whoever knows
    # the password alone would add their own (AT-074).
    if not reaches(assurance_of(row.method), AAL2):
        return
    session().execute(
        update(IAMAuthSession)
        .where(
            IAMAuthSession.user_id == row.user_id,
            IAMAuthSession.state == PENDING,
            IAMAuthSession.stage == services_policy.ENROL,
            IAMAuthSession.id.is_distinct_from(session_id),
        )
        .values(stage=services_policy.MFA)
        .execution_options(synchronize_session=False)
    )


def _end_others(user: IAMUserAccount, session_id: UUID | None, actor: Actor) -> int:
    # Opened by the password alone, perhaps by whoever this factor is to keep out. Pending
    # sign-ins stay: they must show it.
    if len(active_methods(user)) > 1:
        return 0
    return services_sessions.revoke_all(
        user.id, "factor_added", except_id=session_id, states=(ACTIVE,), actor=actor
    )


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
