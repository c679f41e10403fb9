"""E-mail domains of a tenant: claimed, proved by a DNS record, proved again, given up (G4).

A proof is a TXT record at `_iam-challenge.<domain>`; that label cannot be registered below a
public suffix, so nobody proves `co.uk`. One tenant at a time holds a name: the first who proves
it, until it releases the name or the record stays away. DNS is asked outside transactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError

from ..audit import events
from ..audit.services_audit import DENIED, record
from ..core import clock, rng
from ..core.actor import Actor, system_actor
from ..core.crypto import same
from ..core.db import end_read, session, transaction
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.i18n import N_
from ..core.ids import new_id
from ..core.network import dns
from ..core.scoping import current_tenant_id, tenant_scope, unscoped
from .mail_domains import canonical_domain, check_claimable
from .models import IAMDomain, IAMTenant
from .settings import TenancySettings

LABEL = "_iam-challenge"
PREFIX = "iam-domain-verification="
CHECK_EVERY = timedelta(hours=24)
GRACE = timedelta(hours=72)
MOST = 200
WAITING, VERIFIED, MISSING, LOST = "waiting", "verified", "missing", "lost"
_JOB = "domain check"


class DomainTaken(Conflict):
    """Another tenant holds the name. Told only to somebody who controls its DNS."""

    code = "domain.taken"
    title = N_(
        "This domain is in use elsewhere and cannot be verified here. "
        "If it is yours, have it released there first."
    )


class ProofMissing(InvalidInput):
    """The record is not there, or not yet."""

    code = "domain.proof_missing"
    title = N_(
        "The record was not found yet. New records can take a while to reach every name server."
    )


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of checks came to."""

    checked: int = 0
    missing: int = 0
    lost: int = 0
    unanswered: int = 0


def list_domains() -> list[IAMDomain]:
    """Return the domains of this tenant by name."""
    return list(session().scalars(select(IAMDomain).order_by(IAMDomain.name)))


def get_domain(domain_id: UUID | None) -> IAMDomain:
    """Return one domain. Raises NotFound."""
    found = session().scalar(select(IAMDomain).where(IAMDomain.id == domain_id))
    if found is None:
        raise NotFound
    return found


def status_of(row: IAMDomain) -> str:
    """Return how a domain stands: waiting, verified, missing (its record is away) or lost."""
    if row.verified_name is not None:
        return VERIFIED if row.missing_since is None else MISSING
    return LOST if row.missing_since is not None else WAITING


def record_name(row: IAMDomain) -> str:
    """Return where the proof stands."""
    return f"{LABEL}.{row.name}"


def record_value(row: IAMDomain) -> str:
    """Return what the proof says."""
    return PREFIX + row.token


def claim(name: str, *, actor: Actor) -> IAMDomain:
    """Note that the tenant says a domain is its own; it counts once it is verified.

    Raises InvalidInput, Conflict.
    """
    canonical = canonical_domain(name)
    check_claimable(canonical)
    if (session().scalar(select(func.count(IAMDomain.id))) or 0) >= MOST:
        raise Conflict(N_("There are too many domains here already"), code="domain.too_many")
    row = IAMDomain(
        id=new_id(),
        name=canonical,
        token=rng.token(),
        created_at=clock.now(),
    )
    try:
        with session().begin_nested():
            session().add(row)
    except IntegrityError:
        raise Conflict(
            N_("This domain is in the list already"), code="domain.known", field="name"
        ) from None
    record(events.DOMAIN_CLAIMED, resource=row, actor=actor, name=row.name)
    return row


def verify(domain_id: UUID | None, *, actor: Actor) -> None:
    """Look for the proof now, and give the domain to the tenant if it is there.

    Owns its transactions. Raises ProofMissing, DomainTaken, DnsFailed, NotFound.
    """
    row = get_domain(domain_id)
    name, token = row.name, row.token
    there = _proof_stands(name, token)
    with transaction():
        row = _locked(domain_id)
        row.checked_at = clock.now()
        if there:
            _grant(row, actor)
        elif row.verified_name is not None:
            _note_missing(row, actor)
    if not there:
        raise ProofMissing


def choose_connection(row: IAMDomain, connection_id: UUID | None, *, actor: Actor) -> None:
    """Say which connection signs in the people of a domain; the caller made sure it exists."""
    before = row.connection_id
    if before == connection_id:
        return
    row.connection_id = connection_id
    session().flush()
    changes = {"connection_id": [before, connection_id]}
    record(events.DOMAIN_CHANGED, resource=row, changes=changes, actor=actor, name=row.name)


def has_proved(host: str) -> bool:
    """Return whether a host name is, or lies below, a domain that this tenant has proved."""
    proved = select(IAMDomain.verified_name).where(IAMDomain.verified_name.is_not(None))
    return any(_lies_within(host, str(name)) for name in session().scalars(proved))


def release(row: IAMDomain, *, actor: Actor) -> None:
    """Give a domain up: another tenant may prove it from now on."""
    name, proved = row.name, row.verified_name is not None
    record(events.DOMAIN_RELEASED, resource=row, actor=actor, name=name)
    session().delete(row)
    session().flush()
    if proved:
        _drop_host(name, actor)


def check_due() -> Round:
    """Look again for the proofs of every tenant's verified domains; the periodic job.

    Each is looked at once a day; one whose record is away at every round. A record that stays
    away for 72 hours loses the domain; name servers that do not answer change nothing. Owns
    its transactions.
    """
    counts = {"checked": 0, "missing": 0, "lost": 0, "unanswered": 0}
    for domain_id, tenant_id in _due(clock.now() - CHECK_EVERY):
        with tenant_scope(tenant_id):
            counts[_check(domain_id, system_actor(tenant_id, _JOB))] += 1
    return Round(**counts)


def _due(before: datetime) -> list[tuple[UUID, UUID]]:
    query = (
        select(IAMDomain.id, IAMDomain.tenant_id)
        .where(
            IAMDomain.verified_name.is_not(None),
            or_(IAMDomain.checked_at < before, IAMDomain.missing_since.is_not(None)),
        )
        .order_by(IAMDomain.checked_at)
    )
    with unscoped("the proofs of every tenant are looked at again"):
        return [(row.id, row.tenant_id) for row in session().execute(query)]


def _check(domain_id: UUID, actor: Actor) -> str:
    try:
        row = get_domain(domain_id)
        name, token = row.name, row.token
        there = _proof_stands(name, token)
        with transaction():
            row = _locked(domain_id)
            row.checked_at = clock.now()
            if there:
                row.missing_since = None
                return "checked"
            return _note_missing(row, actor)
    except dns.DnsFailed:
        return "unanswered"
    except NotFound:  # released meanwhile
        return "checked"


def _proof_stands(name: str, token: str) -> bool:
    end_read()
    servers = TenancySettings.current().IAM_DNS_SERVERS
    wanted = (PREFIX + token).encode()
    found = dns.txt(f"{LABEL}.{name}", servers=servers)
    return any(same(text.strip().encode(), wanted) for text in found)


def _locked(domain_id: UUID | None) -> IAMDomain:
    # While DNS was asked it may have been released: a new claim is another row.
    query = select(IAMDomain).where(IAMDomain.id == domain_id)
    found = session().scalar(query.with_for_update().execution_options(populate_existing=True))
    if found is None:
        raise NotFound
    return found


def _grant(row: IAMDomain, actor: Actor) -> None:
    row.missing_since = None
    if row.verified_name is not None:
        return
    name, resource = row.name, ("domain", row.id)
    try:
        # The unique index decides between tenants, also between two that prove it at once.
        with session().begin_nested():
            row.verified_name, row.verified_at = name, clock.now()
    except IntegrityError:
        record(
            events.DOMAIN_VERIFIED,
            resource=resource,
            status=DENIED,
            error=DomainTaken.code,
            actor=actor,
            name=name,
        )
        raise DomainTaken from None
    record(events.DOMAIN_VERIFIED, resource=resource, actor=actor, name=name)


def _note_missing(row: IAMDomain, actor: Actor) -> str:
    at = clock.now()
    row.missing_since = row.missing_since or at
    if row.verified_name is None or at - row.missing_since < GRACE:
        return "missing"
    row.verified_name = row.verified_at = None
    _drop_host(row.name, actor)
    record(events.DOMAIN_LOST, resource=row, actor=actor, name=row.name)
    return "lost"


def _lies_within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _drop_host(domain: str, actor: Actor) -> None:
    # Links in messages must not go on leading to a name that is somebody else's by now.
    tenant = session().scalar(select(IAMTenant).where(IAMTenant.id == current_tenant_id()))
    if tenant is None or tenant.host is None or not _lies_within(tenant.host, domain):
        return
    if has_proved(tenant.host):  # by another domain, above or below this one
        return
    before, tenant.host = tenant.host, None
    changes = {"host": [before, None]}
    record(events.TENANT_UPDATED, resource=tenant, changes=changes, actor=actor, slug=tenant.slug)
