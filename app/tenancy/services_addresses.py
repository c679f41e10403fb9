"""Addresses of tenants: which tenant an address names, and which address a tenant has (K2).

A host of the tenant's own, `<slug>.<IAM_TENANT_DOMAIN>` or `<IAM_TENANT_PATH>/<slug>` names a
tenant; every other address names none. What is read here is the request's address alone, never
a header that says something about it (AT-367, RFC 9110 7.2). Knows no request.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Select, Table, bindparam, select

from ..core.db import run_prepared
from ..core.errors import BadRequest
from ..core.i18n import N_
from .errors import AddressClosed, AddressesDisagree, UnknownAddress
from .models import IAMTenant
from .settings import TenancySettings

ACTIVE = "active"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*)\.?(?::[0-9]{{1,5}})?")
_NUMBER = re.compile(r"(\[[0-9a-f:.]+\]|[0-9.]+)(?::[0-9]{1,5})?")
_TENANT = cast(Table, IAMTenant.__table__)
_PLACE: Select[Any] = select(
    *(_TENANT.c[name] for name in ("id", "slug", "host", "name", "status"))
)
_BY_SLUG = _PLACE.where(_TENANT.c.slug == bindparam("value"))
_BY_HOST = _PLACE.where(_TENANT.c.host == bindparam("value"))
_BY_ID = _PLACE.where(_TENANT.c.id == bindparam("value"))
_REASON = "an address decides the tenant; slug, host and id are unique over all of them"


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant as its address knows it."""

    id: UUID
    slug: str
    host: str | None
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Named:
    """What an address says: a short name in its path, one in its host name, or a whole host."""

    path: str | None = None
    label: str | None = None
    host: str | None = None

    def says(self, slug: str, host: str | None) -> bool:
        """Return whether every part of the address is this tenant's."""
        return (
            self.path in {None, slug} and self.label in {None, slug} and self.host in {None, host}
        )


def canonical_host(text: str) -> str | None:
    """Return a Host header's name in small letters, without port and root dot; None for a number.

    Raises BadRequest for what is no host name: two names, say, or one with a user before it.
    """
    lowered = text.strip().lower()
    found = _HOST.fullmatch(lowered)
    if _NUMBER.fullmatch(lowered) or (found and is_number(found[1])):
        return None
    if found is None or len(found[1]) > 253:
        raise BadRequest(N_("The Host header is not usable"), code="request.host")
    return found[1]


def is_number(host: str) -> bool:
    """Return whether a host is an IP address: that never names a tenant."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def read(host: str, path: str | None, *, base_url: str) -> Named | None:
    """Return what the address of a request names, None for the installation's own address.

    Raises BadRequest for an unusable host.
    """
    name = canonical_host(host) if host else None
    named = Named(path=path)
    if name is not None and name not in _own_names(base_url):
        domain = TenancySettings.current().IAM_TENANT_DOMAIN
        if domain and name.endswith(f".{domain}"):
            named = Named(path=path, label=name.removesuffix(f".{domain}"))
        else:
            named = Named(path=path, host=name)
    return None if named == Named() else named


def find(named: Named) -> Place | None:
    """Return the tenant an address names; None where a host is nobody's.

    Raises UnknownAddress, AddressesDisagree, AddressClosed.
    """
    slugs = {item for item in (named.path, named.label) if item is not None}
    found = {_first(_BY_SLUG, slug) for slug in slugs}
    if None in found:
        raise UnknownAddress
    if named.host is not None:
        found.add(_first(_BY_HOST, named.host))
        found.discard(None)  # a host that nobody chose says nothing
    if len(found) > 1:
        raise AddressesDisagree
    place = found.pop() if found else None
    if place is not None and place.status != ACTIVE:
        raise AddressClosed
    return place


def owner_of(host: str) -> Place | None:
    """Return the tenant whose own host this is."""
    return _first(_BY_HOST, host)


def place_of(tenant_id: UUID) -> Place | None:
    """Return a tenant by its id."""
    return _first(_BY_ID, tenant_id)


def base_of(place: Place, base_url: str) -> str:
    """Return the address under which a tenant's pages lie: scheme, host and port.

    A tenant without a name in addresses shares that of the installation.
    """
    domain = TenancySettings.current().IAM_TENANT_DOMAIN
    if _is_default(place.slug):
        return base_url
    if place.host:
        return at_host(base_url, place.host)
    if domain:
        return at_host(base_url, f"{place.slug}.{domain}")
    return base_url


def prefix_of(place: Place) -> str:
    """Return the path before a tenant's pages where its host does not name it, or ""."""
    settings = TenancySettings.current()
    if place.host or _is_default(place.slug) or settings.IAM_TENANT_DOMAIN:
        return ""
    return f"{settings.IAM_TENANT_PATH}/{place.slug}" if settings.IAM_TENANT_PATH else ""


def at_host(base_url: str, host: str) -> str:
    """Return an address with another host; scheme, port and path stay."""
    parts = urlsplit(base_url)
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(scheme=parts.scheme or "https", netloc=host + port).geturl().rstrip("/")


def is_reserved_host(host: str, base_url: str) -> bool:
    """Return whether a host belongs to the installation: its address, or a tenant's short name."""
    domain = TenancySettings.current().IAM_TENANT_DOMAIN
    below = bool(domain) and (host == domain or host.endswith(f".{domain}"))
    return below or host in _own_names(base_url) or host.endswith(".localhost")


def _own_names(base_url: str) -> set[str | None]:
    return {urlsplit(base_url).hostname, TenancySettings.current().IAM_TENANT_DOMAIN, "localhost"}


def _is_default(slug: str) -> bool:
    return slug == TenancySettings.current().IAM_DEFAULT_TENANT


def _first(statement: Select[Any], value: object) -> Place | None:
    row: Any = run_prepared(statement, {"value": value}, reason=_REASON).first()
    return None if row is None else Place(*row)
