"""What second factors a person has, how strong they are, which may be offered. Reads only.

Assurance is decided here alone (D1): e-mail reaches AAL1 unless the operator
overrules NIST, and so does any factor that the operator no longer allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

from sqlalchemy import Table, bindparam, func, select

from ...core.db import run_prepared, session
from ...core.errors import NotFound
from ...core.i18n import _
from ...core.ids import parse_id
from ...core.scoping import current_tenant_id
from ...tenancy.services_settings import effective
from ..factors import AAL1, AAL2, AAL3, Factor, factors
from ..factors.recovery_code import RecoveryCode
from ..factors.webauthn import Webauthn
from ..identity import mask_email, mask_phone
from ..models import IAMMfaMethod, IAMRecoveryCode, IAMUserAccount, IAMWebauthnCredential
from ..principal import AAL_ORDER
from .settings_mfa import MfaSettings

RECOVERY = RecoveryCode.name
EMAIL_OTP = "email_otp"
WEBAUTHN = Webauthn.name
_METHOD = cast(Table, IAMMfaMethod.__table__)
_CONFIRMED = (
    select(_METHOD.c.method)
    .where(
        _METHOD.c.tenant_id == bindparam("tenant"),
        _METHOD.c.user_id == bindparam("user"),
        _METHOD.c.confirmed_at.is_not(None),
    )
    .distinct()
)


@dataclass(frozen=True, slots=True)
class MfaState:
    """A person's confirmed factors: names, strongest first, and the best assurance."""

    methods: tuple[str, ...] = ()
    best_assurance: str | None = None

    @property
    def any_active(self) -> bool:
        """Return whether a confirmed factor exists, even one that no longer counts."""
        return bool(self.methods)

    def meets(self, acr: str) -> bool:
        """Return whether some factor reaches `acr`."""
        return reaches(self.best_assurance, acr)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to prove a second factor, as a page shows it."""

    id: str
    method: str
    label: str
    hint: str
    assurance: str
    acr: str
    sent: bool
    method_id: UUID | None = None
    recommended: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A factor that may be enrolled."""

    method: str
    label: str
    assurance: str
    acr: str
    sent: bool


def mfa_state(user_id: UUID) -> MfaState:
    """Return the person's confirmed factors; one query."""
    parameters = {"tenant": current_tenant_id(), "user": user_id}
    rows = run_prepared(_CONFIRMED, parameters, reason="the tenant in scope is a parameter")
    names = tuple(sorted((row.method for row in rows), key=_position))
    best = max((assurance_of(name) for name in names), key=AAL_ORDER.__getitem__, default=None)
    return MfaState(names, best)


def step_up_level(user_id: UUID, least: str) -> str:
    """Return the assurance a step-up must reach: `least`, or the best the person can show.

    A sign-in by password and mail, fresh as it may be, must not pass by the
    authenticator app (AT-075; NIST SP 800-63B-4 4.1.2).
    """
    if least != AAL1:
        return least
    return AAL2 if mfa_state(user_id).meets(AAL2) else AAL1


def assurance_of(name: str) -> str:
    """Return the level that a password and this factor reach together."""
    settings = effective(MfaSettings)
    if name not in factors() or name not in settings.MFA_METHODS:
        return AAL1
    if name == EMAIL_OTP and settings.MFA_EMAIL_COUNTS_AS_MFA:
        return AAL2
    return factors().get(name).assurance


def reaches(acr: str | None, minimum: str) -> bool:
    """Return whether `acr` is at least `minimum`."""
    return AAL_ORDER.get(acr or "", 0) >= AAL_ORDER[minimum]


def active_methods(user: IAMUserAccount) -> list[IAMMfaMethod]:
    """Return the person's confirmed factors, strongest first, older ones first among equals."""
    rows = session().scalars(
        select(IAMMfaMethod).where(
            IAMMfaMethod.user_id == user.id, IAMMfaMethod.confirmed_at.is_not(None)
        )
    )
    return sorted(rows, key=lambda row: (_position(row.method), row.id.bytes))


def ways(user: IAMUserAccount, minimum: str = AAL1) -> list[Way]:
    """Return how the person can prove a factor that reaches `minimum`, strongest first."""
    rows = [row for row in active_methods(user) if row.method in factors()]
    strongest = _bound_keys(user) if minimum == AAL3 else frozenset()
    found = [
        _way(row)
        for row in rows
        if row.id in strongest or reaches(assurance_of(row.method), minimum)
    ]
    if codes_left(user.id) and reaches(assurance_of(RECOVERY), minimum):
        found.append(_recovery_way())
    return [_first(item) if at == 0 else item for at, item in enumerate(found)]


def find_way(user: IAMUserAccount, method: str, minimum: str = AAL1) -> Way:
    """Return the way named by a factor's id or kind. Raises NotFound."""
    method_id = parse_id(method)
    for way in ways(user, minimum):
        if (way.method_id is not None and way.method_id == method_id) or way.method == method:
            return way
    raise NotFound(code="mfa.method_unknown")


def offers(minimum: str = AAL1) -> list[Offer]:
    """Return the factors that may be enrolled, strongest first; recovery codes come along."""
    allowed = [item for item in factors() if _may_enrol(item.name)]
    return [_offer(item) for item in allowed if reaches(assurance_of(item.name), minimum)]


def find_method(user: IAMUserAccount, method_id: UUID | None) -> IAMMfaMethod:
    """Return one confirmed factor of the person. Raises NotFound."""
    row = session().scalar(
        select(IAMMfaMethod).where(
            IAMMfaMethod.id == method_id,
            IAMMfaMethod.user_id == user.id,
            IAMMfaMethod.confirmed_at.is_not(None),
        )
    )
    if row is None:
        raise NotFound
    return row


def codes_left(user_id: UUID) -> int:
    """Return how many unused recovery codes the person has."""
    found = session().scalar(
        select(func.count(IAMRecoveryCode.id)).where(
            IAMRecoveryCode.user_id == user_id, IAMRecoveryCode.used_at.is_(None)
        )
    )
    return int(found or 0)


def mask(method: str, destination: str | None) -> str:
    """Return a destination as it may be shown."""
    if not destination:
        return ""
    return mask_email(destination) if method == EMAIL_OTP else mask_phone(destination)


def label_of(method: str) -> str:
    """Return what people call a factor."""
    return factors().get(method).label if method in factors() else method


def note_of(method: str) -> str:
    """Return in a few words how strong a factor is."""
    return factors().get(method).note if method in factors() else ""


def names_reaching(minimum: str) -> Iterable[str]:
    """Return the names of all factors that reach `minimum`."""
    return [name for name in factors().names() if reaches(assurance_of(name), minimum)]


def _bound_keys(user: IAMUserAccount) -> frozenset[UUID]:
    # AAL3 wants a key that cannot leave its device, and somebody who vouches for that.
    if not reaches(assurance_of(WEBAUTHN), AAL2):
        return frozenset()
    key = IAMWebauthnCredential
    found = session().scalars(
        select(key.mfa_method_id).where(
            key.user_id == user.id, key.backup_eligible.is_(False), key.attestation_trusted
        )
    )
    return frozenset(found)


def _way(row: IAMMfaMethod) -> Way:
    factor = factors().get(row.method)
    sent = factor.channel is not None
    hint = mask(row.method, row.destination) if sent else row.name
    return Way(
        id=str(row.id), method=row.method, label=factor.label, hint=hint,
        assurance=factor.note, acr=assurance_of(row.method), sent=sent, method_id=row.id,
    )  # fmt: skip


def _recovery_way() -> Way:
    factor = factors().get(RECOVERY)
    return Way(
        id=RECOVERY, method=RECOVERY, label=factor.label, hint=_("One of your saved codes"),
        assurance=factor.note, acr=assurance_of(RECOVERY), sent=False,
    )  # fmt: skip


def _first(way: Way) -> Way:
    return way if way.method == RECOVERY else replace(way, recommended=True)


def _may_enrol(name: str) -> bool:
    return name != RECOVERY and name in effective(MfaSettings).MFA_METHODS


def _offer(factor: Factor) -> Offer:
    return Offer(
        factor.name, factor.label, factor.note, assurance_of(factor.name),
        factor.channel is not None,
    )  # fmt: skip


def _position(name: str) -> int:
    names = factors().names()
    return names.index(name) if name in names else len(names)
