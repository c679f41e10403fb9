"""A passkey or security key as second factor (WebAuthn Level 3; E1, E2).

Its "code" is the JSON of an assertion. The challenge was used up when the try was
counted; here it is taken out for good, so that one assertion proves one thing once.
"""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import select

from ...core.db import session
from ...core.errors import BadRequest
from ...core.i18n import _
from ...tenancy.services_settings import effective
from ..errors import CloneRefused, CodeInvalid, PasskeyRefused
from ..models import IAMUserAccount, IAMWebauthnCredential
from ..webauthn import services_webauthn_challenges, services_webauthn_use
from ..webauthn.settings_webauthn import WebauthnSettings
from ..webauthn.webauthn_checks import Used, check_owner, verify_assertion
from ..webauthn.webauthn_parsing import Assertion, credential_digest, read_assertion_text
from .attempt import Attempt, Reached


class Webauthn:
    """A key of the person's own."""

    name: ClassVar[str] = "webauthn"
    assurance: ClassVar[str] = "aal2"
    channel: ClassVar[str | None] = None

    @property
    def label(self) -> str:
        """Return what people call it."""
        return _("Passkey or security key")

    @property
    def note(self) -> str:
        """Return in a few words how strong it is."""
        return _("Strongest: works on this site only, nothing to type")

    def redeem(self, attempt: Attempt) -> Reached:
        """Accept the assertion of a key of this person's. Raises CodeInvalid."""
        challenge = _taken_challenge(attempt)
        try:
            answer = read_assertion_text(attempt.code)
            row = _own_key(attempt, answer)
            used = _verified(attempt, answer, row, challenge)
        except (PasskeyRefused, BadRequest) as refusal:
            reason = refusal.details.get("reason", refusal.code)
            raise CodeInvalid(field="code", reason=reason) from None
        return _noted(attempt, row, used)


def _taken_challenge(attempt: Attempt) -> bytes:
    taken = attempt.challenge is not None and services_webauthn_challenges.take(
        attempt.challenge, attempt.purpose, attempt.user_id, attempt.session_id
    )
    if attempt.challenge is None or not taken:
        raise CodeInvalid(field="code", reason="challenge")
    return attempt.challenge


def _own_key(attempt: Attempt, answer: Assertion) -> IAMWebauthnCredential:
    # Another person's key proves nothing here, nor does another tenant's (AT-067, AT-258).
    row = session().scalar(
        select(IAMWebauthnCredential).where(
            IAMWebauthnCredential.credential_digest == credential_digest(answer.credential_id),
            IAMWebauthnCredential.user_id == attempt.user_id,
            IAMWebauthnCredential.mfa_method_id == attempt.method_id,
        )
    )
    if row is None:
        raise PasskeyRefused(reason="owner")
    return row


def _verified(
    attempt: Attempt, answer: Assertion, row: IAMWebauthnCredential, challenge: bytes
) -> Used:
    demanded = effective(WebauthnSettings).WEBAUTHN_USER_VERIFICATION == "required"
    expected = services_webauthn_use.expected(challenge, user_verification=demanded)
    check_owner(answer, _handle_of(attempt), required=False)
    return verify_assertion(answer, services_webauthn_use.known(row), expected)


def _handle_of(attempt: Attempt) -> bytes | None:
    return session().scalar(
        select(IAMUserAccount.webauthn_handle).where(IAMUserAccount.id == attempt.user_id)
    )


def _noted(attempt: Attempt, row: IAMWebauthnCredential, used: Used) -> Reached:
    if used.clone_suspected and effective(WebauthnSettings).WEBAUTHN_REFUSE_CLONES:
        raise CloneRefused(field="code", reason="clone", method_id=row.mfa_method_id)
    row.sign_count = used.sign_count
    row.backup_state = used.backup_state
    row.user_verified = row.user_verified or used.user_verified
    row.last_used_at = attempt.at
    acr = services_webauthn_use.acr_of(
        user_verified=used.user_verified,
        backup_eligible=row.backup_eligible,
        trusted=row.attestation_trusted,
    )
    amr = services_webauthn_use.amr_of(backup_eligible=row.backup_eligible)
    return Reached(amr, acr, row.mfa_method_id if used.clone_suspected else None)
