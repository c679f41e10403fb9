"""Purposes of step-up: how fresh and how strong a proof must be for what (F1).

A host adds its own with `register_purpose`; an unknown purpose is refused, so a
typing error never opens a door.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..core.registry import Registry


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose. `acr` is the least assurance; `max_age` None means STEP_UP_MINUTES.

    `accepts_sign_in` lets a sign-in that is fresh and strong enough count. A
    person without a second factor reaches `aal1` purposes with the password;
    where a strong one is enrolled, it is asked for.
    """

    name: str
    text: str
    acr: str = "aal2"
    max_age: timedelta | None = None
    accepts_sign_in: bool = True


purposes: Registry[Purpose] = Registry("step-up purpose")
purposes.add(Purpose("mfa", "continue", max_age=timedelta(hours=24)))
purposes.add(Purpose("account.security", "change how you sign in", acr="aal1"))
purposes.add(Purpose("admin.users", "change somebody's account"))
purposes.add(Purpose("admin.roles", "change rights"))
purposes.add(Purpose("admin.access", "enter another tenant"))
purposes.add(Purpose("admin.organizations", "change organizations"))
purposes.add(Purpose("admin.connections", "change connections"))
purposes.add(Purpose("admin.settings", "change settings"))
purposes.add(Purpose("admin.tenants", "change tenants"))


def register_purpose(purpose: Purpose) -> Purpose:
    """Add a purpose of the host's own. Raises Misconfigured where the name is taken."""
    return purposes.add(purpose)


def purpose_named(name: str) -> Purpose:
    """Return the purpose called `name`. Raises Misconfigured where nobody declared it."""
    return purposes.get(name)
