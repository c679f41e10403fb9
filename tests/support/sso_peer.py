"""Our app as a client of the real provider: registered there, connected here."""

from __future__ import annotations

from typing import Any

from flask import Flask

from app.auth.sso.connection import Connection
from app.auth.web.links import public_url
from app.core.db import session
from tests.support.oidc_peer import OidcPeer
from tests.support.sso import SLUG, make_connection


def connect(
    app: Flask, peer: OidcPeer, *, registered: dict[str, Any] | None = None, **changes: Any
) -> Connection:
    """Register an app at the provider, and the provider with the app.

    `registered` are further fields of the registration, `changes` columns of the connection.
    """
    with app.app_context():
        client = peer.register(
            public_url("iam_auth.sso_callback", provider=SLUG),
            **{
                "post_logout_redirect_uris": [public_url("iam_auth.signed_out")],
                "backchannel_logout_uri": public_url(
                    "iam_auth.sso_backchannel_logout", provider=SLUG
                ),
                "backchannel_logout_session_required": True,
                **(registered or {}),
            },
        )
    values = {"client_id": client.id, "client_secret": client.secret, **changes}
    made = make_connection(app, peer.issuer, **values)
    session().rollback()  # what the test has read so far is older than the connection
    return made
