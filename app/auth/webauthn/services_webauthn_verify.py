"""A key as the second step, of a sign-in or before something sensitive (D7, F1).

The way of every factor: the try is counted and the challenge used up, both committed,
then `services_mfa_verify` redeems. A key's own refusals are told in one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ...core.actor import Actor
from ...core.db import transaction
from ...core.errors import NotFound
from .. import services_webauthn
from ..errors import CloneRefused, CodeInvalid, PasskeyRefused
from ..factors import Attempt
from ..mfa import services_mfa_verify
from ..mfa.services_factors import WEBAUTHN
from ..mfa.services_mfa_verify import Proved
from ..models import IAMUserAccount
from ..sessions.services_sessions import SignIn
from . import services_webauthn_use
from .webauthn_parsing import Assertion


def begin(
    user: IAMUserAccount,
    answer: Assertion,
    text: str,
    *,
    purpose: str,
    session_id: UUID,
    minimum: str,
    browser: bytes,
    actor: Actor,
) -> Attempt:
    """Count a try with an assertion, whose JSON is `text`; owns its transactions.

    Raises TooManyAttempts; PasskeyRefused where the person has no key for this.
    """
    user_id = user.id
    try:
        return services_mfa_verify.begin_attempt(
            user, text, method=services_webauthn.way_of(user, answer), purpose=purpose,
            session_id=session_id, minimum=minimum, browser=browser, actor=actor,
        )  # fmt: skip
    except NotFound:
        with transaction():
            services_mfa_verify.record_failure(WEBAUTHN, user_id, purpose, "no_method", actor)
        raise PasskeyRefused from None


def finish(attempt: Attempt, onwards: Callable[[Proved], SignIn], *, actor: Actor) -> SignIn:
    """Redeem a counted try and take the session `onwards`; owns its transactions.

    Raises PasskeyRefused, and what `onwards` raises.
    """
    try:
        with transaction():
            return onwards(services_mfa_verify.redeem(attempt, actor=actor))
    except CloneRefused as refusal:
        with transaction():
            services_webauthn_use.suspect_clone(refusal.details["method_id"], actor=actor)
        raise PasskeyRefused from None
    except CodeInvalid:
        raise PasskeyRefused from None
