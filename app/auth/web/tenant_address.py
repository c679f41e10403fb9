"""The request's address as far as it names a tenant, and who may be signed in there (K2).

The path prefix is moved to SCRIPT_NAME before routing, so every `url_for` stays below it. A
session at the address of another tenant is refused (AT-367, AT-390); where it is the address's
own, the session's own query has told so and nothing is asked of the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from flask import Flask, has_request_context, request

from ...core.errors import Misconfigured
from ...core.runtime import state
from ...tenancy import services_addresses as addresses
from ...tenancy.errors import WrongTenant
from ...tenancy.services_addresses import Named, Place
from ...tenancy.settings import TenancySettings
from ..principal import Principal
from ..settings import AuthSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SLUG = "iam.tenant_slug"
_PREFIX = "iam.tenant_prefix"
_SIGN_OUT = "iam_auth.logout"


class TenantPath:
    """WSGI middleware: takes `/t/<slug>` off the path and remembers the short name.

    Only the exact form is taken, in small letters; anything else is routed as it is and
    meets no page (AT-384).
    """

    def __init__(self, app: WSGIApplication, path: str) -> None:
        self._app = app
        self._form = re.compile(
            rf"({re.escape(path)}/([a-z0-9][a-z0-9-]{{0,62}}))(/(?!/).*)?", re.DOTALL
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request on, relative to its tenant."""
        found = self._form.fullmatch(environ.get("PATH_INFO", ""))
        if found:
            environ[_SLUG], environ[_PREFIX] = found[2], found[1]
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + found[1]
            environ["PATH_INFO"] = found[3] or "/"
        return self._app(environ, start_response)


def install(app: Flask) -> None:
    """Read the tenant off the path, where IAM_TENANT_PATH says so. Raises Misconfigured."""
    path = state(app).section(TenancySettings).IAM_TENANT_PATH
    if not path:
        return
    taken = {rule.rule.partition("/")[2].partition("/")[0] for rule in app.url_map.iter_rules()}
    if path.strip("/") in taken:
        raise Misconfigured(f"IAM_TENANT_PATH: pages of this app lie below {path!r} already")
    app.wsgi_app = TenantPath(app.wsgi_app, path)  # type: ignore[method-assign]


def named() -> Named | None:
    """Return what this request's address names, None for the installation's own address."""
    memo = _memo()
    if "named" not in memo:
        base = AuthSettings.current().IAM_BASE_URL
        memo["named"] = None  # where reading raises, the page that says so asks again
        memo["named"] = addresses.read(request.host, request.environ.get(_SLUG), base_url=base)
    return cast("Named | None", memo["named"])


def place() -> Place | None:
    """Return the tenant of this request's address, looked up once; None where none is named.

    Raises UnknownAddress, AddressesDisagree, AddressClosed.
    """
    memo, wanted = _memo(), named()
    if "place" not in memo:
        found = addresses.find(wanted) if wanted is not None else None
        memo["place"] = found
        if found is not None:
            memo.setdefault("places", {})[found.id] = found
    return cast("Place | None", memo["place"])


def admit(person: Principal) -> None:
    """Let a session in whose tenant the address names, or any where it names none.

    Raises WrongTenant; signing out is possible everywhere.
    """
    wanted = named()
    home = Place(
        person.tenant_id, person.tenant_slug, person.tenant_host, person.tenant_name, "active"
    )
    _memo().setdefault("places", {})[home.id] = home
    if wanted is None:
        return
    if wanted.says(home.slug, home.host):
        _memo()["place"] = home
        return
    if request.endpoint == _SIGN_OUT:
        return
    elsewhere = place()
    if elsewhere is not None and elsewhere.id != person.tenant_id:
        raise WrongTenant(person=person)


def prefix() -> str:
    """Return the path of this request's tenant, such as `/t/acme`, or ""."""
    return str(request.environ.get(_PREFIX, "")) if has_request_context() else ""


def mount() -> str:
    """Return where the app itself lies: the request's script root without the tenant's path."""
    return request.script_root.removesuffix(prefix()) if has_request_context() else ""


def below(path: str) -> str:
    """Return a configured path of this site as it is called below the tenant's own."""
    own = prefix()
    if not own or path.startswith(request.script_root + "/"):
        return path
    return mount() + own + path.removeprefix(mount())


def known_place(tenant_id: UUID) -> Place | None:
    """Return a tenant's names, looked up at most once in a request.

    Never for the tenant of the request: whether a message is sent must not show in what an
    answer costs (AT-011).
    """
    if tenant_id == state().default_tenant_id:
        slug = TenancySettings.current().IAM_DEFAULT_TENANT
        return Place(tenant_id, slug, None, slug, addresses.ACTIVE)
    if not has_request_context():
        return addresses.place_of(tenant_id)
    kept: dict[UUID, Place | None] = _memo().setdefault("places", {})
    if tenant_id not in kept:
        kept[tenant_id] = addresses.place_of(tenant_id)
    return kept[tenant_id]


def _memo() -> dict[str, Any]:
    found: dict[str, Any] = request.environ.setdefault("iam.request", {})
    return found
