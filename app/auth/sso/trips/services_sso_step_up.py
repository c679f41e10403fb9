"""Fresh proof through a provider, for people who have nothing else to show (F1, AT-066, AT-200).

The provider is asked to let the person sign in anew; only its own word for when that was
counts, and only for an identity that is linked to the very account and session that set out.
"""

from __future__ import annotations

from ....core import clock
from ....core.actor import Actor
from ....core.db import transaction
from ...factors import AAL1
from ...mfa import services_factors
from ...mfa.services_mfa_verify import record_step_up_failed
from ...models import IAMUserAccount
from ...principal import Principal
from ...purposes import purpose_named
from ...sessions import services_sessions
from ...sessions.services_sessions import SignIn
from .. import services_connections, services_identities
from ..connection import Connection
from ..errors_sso import OtherIdentity, SsoRefused
from ..services_sso_flow import Flow
from ..userinfo import UserInfo
from .assurance import FEDERATED, shown_by

# Plain OAuth 2.0 and Apple tell no time of sign-in.
OTHER = "other_identity"
_TELLS_TIME = frozenset({"oidc", "azure", "google"})


def offers(user: IAMUserAccount, minimum: str) -> list[tuple[str, str]]:
    """Return slug and name of each connection by which a person can show fresh proof.

    None where they have a factor that is strong enough, or a password that suffices.
    """
    if services_factors.ways(user, minimum):
        return []
    if minimum == AAL1 and user.password_hash is not None:
        return []
    usable = {offer.slug for offer in services_connections.offered()}
    found = {
        row.slug: row.name
        for _identity, row in services_identities.identities_of(user.id)
        if row.slug in usable and row.provider in _TELLS_TIME
        if minimum == AAL1 or row.trusts_mfa
    }
    return list(found.items())


def prove(
    connection: Connection, flow: Flow, info: UserInfo, person: Principal, *, actor: Actor
) -> SignIn:
    """Keep the proof of a step-up; owns its transactions. Raises SsoRefused."""
    purpose = flow.trip.step_up_purpose or ""
    shown = shown_by(connection, info)
    reason = _why_not(connection, flow, info, person, shown.acr)
    if reason is not None:
        with transaction():
            record_step_up_failed(person.user_id, purpose, FEDERATED, actor)
        raise OtherIdentity if reason == OTHER else SsoRefused(reason)
    with transaction():
        return services_sessions.record_proof(
            person, purpose=purpose, method=FEDERATED, acr=shown.acr, actor=actor
        )


def _why_not(
    connection: Connection, flow: Flow, info: UserInfo, person: Principal, acr: str
) -> str | None:
    identity = services_identities.find(info, connection)
    if identity is None or identity.user_id != person.user_id:
        return OTHER
    if not flow.covers(info.auth_time, clock.now()):
        return "not_fresh"
    wanted = purpose_named(flow.trip.step_up_purpose or "").acr
    level = services_factors.step_up_level(person.user_id, wanted)
    return None if services_factors.reaches(acr, level) else "too_weak"
