"""What a person's sign-in must contain: the second-factor policy and what is still missing (D6).

Pure decisions over values that others loaded; `missing_stage` is the heart of
the one sign-in gate in `services_gate.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ...authz.grants import Grants
from ...tenancy.services_settings import effective
from ..mfa.settings_mfa import MfaSettings
from ..principal import AAL_ORDER

DONE, VERIFY, MFA, ENROL, PASSWORD_STAGE = "done", "verify", "mfa", "enrol", "password"
AGAIN = "again"  # a recovery has done what it may: the person signs in anew
_STRICTNESS = ("off", "optional", "required")


class EnrolledFactors(Protocol):
    """What the gate asks about a person's confirmed factors."""

    @property
    def any_active(self) -> bool: ...

    @property
    def best_assurance(self) -> str | None: ...


def mfa_policy(grants: Grants, actor_type: str, settings: MfaSettings | None = None) -> str:
    """Return `off`, `optional` or `required`: the strictest of settings, actor type and roles.

    `settings` are the tenant's where it is not in scope yet.
    """
    settings = settings or effective(MfaSettings)
    wanted = [settings.MFA_DEFAULT_POLICY, grants.mfa_policy]
    if actor_type in settings.MFA_REQUIRED_ACTOR_TYPES:
        wanted.append("required")
    return max(wanted, key=_STRICTNESS.index)


def in_grace(until: datetime | None, at: datetime, settings: MfaSettings) -> bool:
    """Return whether enrolment may be put off at `at`; a time not yet begun counts as open."""
    if not settings.MFA_GRACE_DAYS:
        return False
    return until is None or at < until


def second_factor_shown(amr: Sequence[str], acr: str) -> bool:
    """Return whether a sign-in has shown more than one factor.

    A mailbox that was only confirmed (`email` after the first proof) is none.
    """
    return acr != "aal1" or any(name != "email" for name in amr[1:])


def missing_stage(
    policy: str,
    factors: EnrolledFactors,
    *,
    proved: bool,
    acr: str,
) -> str:
    """Return what a sign-in still needs: `mfa`, `enrol` or `done`.

    `proved` tells whether a second factor was shown, `acr` the assurance reached.
    A required policy is met by AAL2 only; a weaker factor leads to enrolment.
    """
    if policy == "off":
        return DONE
    if not factors.any_active:
        return DONE if policy == "optional" else ENROL
    if not proved:
        return MFA
    if policy == "required" and AAL_ORDER[acr] < AAL_ORDER["aal2"]:
        strong = AAL_ORDER.get(factors.best_assurance or "", 0) >= AAL_ORDER["aal2"]
        return MFA if strong else ENROL
    return DONE
