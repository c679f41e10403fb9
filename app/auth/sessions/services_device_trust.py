"""Trust in a browser: when a sign-in there may do without its second step (F2).

Off by default: NIST SP 800-63B-4 5.1 forbids such cookies in place of authentication.
Where it is on, the session stays AAL1, so it satisfies no step-up and no policy that
requires a second factor (AT-072). What is stored is `risk/services_devices.py`.
"""

from __future__ import annotations

from datetime import datetime

from ...core.actor import Actor
from ...core.errors import Forbidden
from ...core.i18n import _
from ...risk import services_devices
from ...risk.services_devices import Known
from ...risk.settings import RiskSettings
from ...tenancy.services_settings import effective
from ..factors import AAL2
from ..mfa.services_factors import RECOVERY, mfa_state, reaches
from ..principal import Principal
from ..sign_in.services_policy import mfa_policy
from .services_sessions import SignIn


def holds(device: Known, at: datetime) -> bool:
    """Return whether a device is trusted at `at`, under the settings now in force."""
    if device.trusted_until is None:  # nearly all: no query for them (X3)
        return False
    return services_devices.is_trusted(device, at, days=days_allowed())


def days_allowed() -> int:
    """Return DEVICE_TRUST_DAYS as it holds in this tenant."""
    return effective(RiskSettings).DEVICE_TRUST_DAYS


def days_for(person: Principal) -> int:
    """Return for how many days this person may trust a browser; 0 where that means nothing."""
    if mfa_policy(person.grants, person.actor_type) != "optional":
        return 0
    return days_allowed()


def days_after(person: Principal, method: str, acr: str) -> int:
    """Return the days to offer beside a second factor at sign-in; 0 offers nothing.

    A recovery code is for emergencies, perhaps at a stranger's machine: none there.
    """
    if person.device_id is None or method == RECOVERY or not reaches(acr, AAL2):
        return 0
    return days_for(person)


def remember(person: Principal, signed: SignIn, *, method: str, acr: str, actor: Actor) -> None:
    """Trust the browser of a sign-in that a second factor has completed, as its person asked.

    Joins the transaction; does nothing where it was not on offer.
    """
    days = days_after(person, method, acr)
    if days and signed.complete and person.device_id is not None:
        services_devices.trust(person.device_id, days=days, actor=actor)


def days_here(person: Principal) -> int:
    """Return for how many days a signed-in person may trust the browser in use; 0: not at all."""
    days = days_for(person) if person.device_id is not None else 0
    return days if days and mfa_state(person.user_id).meets(AAL2) else 0


def trust_current(person: Principal, *, actor: Actor) -> None:
    """Trust the browser of a signed-in person; the route demands fresh proof.

    Raises Forbidden where no trust is to be had.
    """
    days = days_here(person)
    if not days or person.device_id is None:
        raise Forbidden(_("Trusting a device is not possible here"), code="device.no_trust")
    services_devices.trust(person.device_id, days=days, actor=actor)
