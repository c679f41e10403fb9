"""One decision: may this account act now (requirement B2).

Every entry asks here: password, factor, session, link, and later tokens and keys.
"""

from __future__ import annotations

ACTIVE = "active"
INVITED = "invited"
PENDING = "pending_verification"
SUSPENDED = "suspended"
LOCKED = "locked"
DISABLED = "disabled"
ERASED = "erased"
STATUSES = (INVITED, PENDING, ACTIVE, SUSPENDED, LOCKED, DISABLED, ERASED)


def may_act(user_status: str, tenant_status: str) -> bool:
    """Return whether an account of this status, in a tenant of that status, may act."""
    return user_status == ACTIVE and tenant_status == ACTIVE


def may_enter(user_status: str, tenant_status: str) -> bool:
    """Return whether a sign-in may be begun: also one that must first confirm the address."""
    return user_status in {ACTIVE, PENDING} and tenant_status == ACTIVE


def may_set_password(user_status: str, tenant_status: str) -> bool:
    """Return whether a link may set a password: active people and those just invited."""
    return user_status in {ACTIVE, INVITED} and tenant_status == ACTIVE
