"""Single sign-on of the tests: a connection to a local provider, and a trip there and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from flask import Flask, has_app_context
from flask.testing import FlaskClient

from app.auth.accounts.services_directory import get_user
from app.auth.models import IAMSsoConnection
from app.auth.sso import services_connections, services_identities
from app.auth.sso.connection import Connection
from app.auth.sso.userinfo import UserInfo
from app.core import clock
from app.core.actor import system_actor
from app.core.crypto import keyring
from app.core.db import session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.tenancy.models import IAMDomain
from app.tenancy.services_tenants import default_tenant_id
from tests.support.lying_provider import LyingProvider

CLIENT_ID, CLIENT_SECRET = "our-client", "our-secret-do-not-leak"
SLUG = "peer"


@contextmanager
def _in(app: Flask, tenant_id: UUID | None) -> Iterator[None]:
    """Work in a tenant, with a session of our own; the test's reads anew afterwards."""
    with app.app_context(), tenant_scope(tenant_id or default_tenant_id()):
        yield
    if has_app_context():
        session().rollback()


def make_connection(
    app: Flask, provider_url: str, *, tenant_id: UUID | None = None, **changes: Any
) -> Connection:
    """Insert an enabled OpenID connection to a provider on loopback and return it as a value.

    `changes` are columns of `iam_sso_connection`; `client_secret` is given in clear.
    """
    at, row_id = clock.now(), new_id()
    secret = changes.pop("client_secret", CLIENT_SECRET)
    values: dict[str, Any] = {
        "slug": SLUG,
        "provider": "oidc",
        "name": "Peer",
        "enabled": True,
        "client_id": CLIENT_ID,
        "discovery_url": f"{provider_url}/.well-known/openid-configuration",
        "allow_private": True,
        "jit": "off",
        **changes,
    }
    with _in(app, tenant_id):
        context = services_connections.secret_context(row_id)
        with transaction():
            row = IAMSsoConnection(
                id=row_id,
                client_secret=keyring().encrypt(secret.encode(), context),
                created_at=at,
                updated_at=at,
                **values,
            )
            session().add(row)
        return value_of(row_id)


def value_of(connection_id: UUID) -> Connection:
    """Return a connection as it is stored now, enabled or not, in the tenant of this context."""
    session().rollback()
    row = session().get(IAMSsoConnection, connection_id, populate_existing=True)
    assert row is not None
    found = services_connections.as_value(row)
    session().rollback()
    assert found is not None
    return found


def value_of_slug(app: Flask, slug: str = SLUG) -> Connection:
    """Return an enabled connection of the default tenant."""
    with _in(app, None):
        return services_connections.find(slug)


def change_connection(app: Flask, connection: Connection, **changes: Any) -> Connection:
    """Change columns of a connection past the pages."""
    with _in(app, connection.tenant_id):
        with transaction():
            row = session().get(IAMSsoConnection, connection.id)
            for name, value in changes.items():
                setattr(row, name, value)
        return value_of(connection.id)


def link_identity(app: Flask, connection: Connection, user_id: UUID, info: UserInfo) -> None:
    """Link an identity to an account past the pages."""
    actor = system_actor(connection.tenant_id, "tests")
    with _in(app, connection.tenant_id), transaction():
        services_identities.link(get_user(user_id), info, connection, linked_by="user", actor=actor)


def add_domain(app: Flask, name: str, connection: Connection, *, verified: bool = True) -> None:
    """Give the connection's tenant a mail domain that the connection signs in."""
    at = clock.now()
    with _in(app, connection.tenant_id), transaction():
        session().add(
            IAMDomain(
                id=new_id(), name=name, verified_name=name if verified else None, token="t" * 43,
                connection_id=connection.id, verified_at=at if verified else None, created_at=at,
            )
        )  # fmt: skip


def start(client: FlaskClient, slug: str = SLUG, **query: str) -> str:
    """Follow the button of a connection; return the address of the provider it leads to."""
    answer = client.get(f"/auth/sso/{slug}/login", query_string=query)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


def refresh_of(page: str) -> str:
    """Return where a page leads on to by itself (`sso_continue.html`)."""
    found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', page)
    assert found, page
    return unescape(found.group(1))


def path_of(callback: str) -> str:
    """Return the path and query of an absolute address, as the test client takes it."""
    parts = urlsplit(callback)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def query_of(url: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def leave_and_return(client: FlaskClient, provider: LyingProvider, url: str) -> Any:
    """Do what the browser does with an authorization URL; return the callback's answer."""
    return client.get(path_of(provider.authorize(url)))


def sign_in_through(
    client: FlaskClient,
    provider: LyingProvider,
    *,
    slug: str = SLUG,
    query: Mapping[str, str] | None = None,
    **person: Any,
) -> Any:
    """Sign in through a provider, there and back; return the callback's answer.

    `person` is who signs in at the provider (`sub`, `email`, `email_verified`, further
    claims); without one it is whoever is signed in there now. `query` is our login's.
    """
    if person:
        provider.person(**person)
    return leave_and_return(client, provider, start(client, slug, **(query or {})))
