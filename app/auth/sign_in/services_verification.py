"""The stage of a sign-in that confirms a mailbox: the address itself, or a new device by it.

A code goes to the stored address; who types it in the same sign-in goes on (B2, B3, J2).
It proves the mailbox and is no second factor.
"""

from __future__ import annotations

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor
from ...core.db import transaction
from ...core.errors import Forbidden
from ...core.i18n import _
from ...notify.messages import EMAIL
from ..accounts import services_notices
from ..liveness import ACTIVE, PENDING
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMUserAccount
from ..principal import Principal
from ..sessions.services_sessions import SignIn
from ..sso import services_identities
from . import services_codes, services_gate
from .services_codes import VERIFY_DEVICE, VERIFY_EMAIL


def purpose_of(user: IAMUserAccount) -> str:
    """Return what a code confirms for this person: the address first, else the device."""
    unverified = user.status == PENDING or not user.email_verified
    return VERIFY_EMAIL if unverified else VERIFY_DEVICE


def is_for_enrolment(user: IAMUserAccount) -> bool:
    """Return whether the code opens the place of factors that were all lost."""
    return user.mfa_enrolment_due and purpose_of(user) == VERIFY_DEVICE


def send_code(principal: Principal, *, actor: Actor) -> str:
    """Send a code to the stored address and return what became of it; owns its transactions.

    Raises Forbidden where the account has no address, TooManyAttempts.
    """
    with transaction():
        user = services_gate.owner(principal)
        address = user.email
        if not address:
            raise Forbidden(
                _("Your account has no e-mail address. Please ask your administrator."),
                code="account.no_email",
            )
        purpose = purpose_of(user)
        sent = services_codes.issue(
            user,
            purpose,
            channel=EMAIL,
            destination=address,
            build=lambda code, _token: services_notices.one_time_code(
                user, EMAIL, address, code=code, purpose=purpose
            ),
            minutes=MfaSettings.current().MFA_CODE_MINUTES,
            session_id=principal.session_id,
            actor=actor,
        )
    return services_codes.deliver(sent)


def confirm(principal: Principal, code: str, *, actor: Actor) -> SignIn:
    """Check the code and take the sign-in onwards; owns its transactions.

    Raises CodeInvalid, TooManyAttempts, and what the gate raises.
    """
    user = services_gate.owner(principal)
    purpose = purpose_of(user)
    attempt = services_codes.begin(
        user.id, purpose, code, session_id=principal.session_id, actor=actor
    )
    with transaction():
        services_codes.redeem(attempt, actor=actor)
        user = services_gate.owner(principal)
        if purpose == VERIFY_EMAIL:
            services_identities.drop_planted(user, session_id=principal.session_id, actor=actor)
            _mark_verified(user, actor)
        amr = tuple(dict.fromkeys((*principal.amr, "email")))
        return services_gate.onwards(principal, amr=amr, acr=principal.acr, actor=actor)


def _mark_verified(user: IAMUserAccount, actor: Actor) -> None:
    before = user.status
    user.email_verified = True
    user.updated_at = clock.now()
    changes: dict[str, list[object]] = {"email_verified": [False, True]}
    if before == PENDING:
        user.status = ACTIVE
        changes["status"] = [before, ACTIVE]
    record(events.EMAIL_VERIFIED, resource=user, changes=changes, actor=actor)
