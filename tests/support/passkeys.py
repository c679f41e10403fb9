"""The pages' scripts as tests drive them: JSON to the passkey endpoints, with the page's token."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from tests.conftest import csrf_of
from tests.support.authenticator import Authenticator

HOME = "/auth/webauthn"


def token_of(client: FlaskClient, **kw: Any) -> str:
    """Return the form token of this browser, whatever it has signed in."""
    return csrf_of(client.get("/auth/password/forgot", **kw).text)


def send(client: FlaskClient, path: str, body: Any = None, **kw: Any) -> Any:
    """Post JSON as the scripts do."""
    where = {name: kw[name] for name in ("base_url",) if name in kw}
    token = kw.pop("token", None) or token_of(client, **where)
    headers = {"X-CSRFToken": token, **kw.pop("headers", {})}
    return client.post(f"{HOME}/{path}", json={} if body is None else body, headers=headers, **kw)


def options(client: FlaskClient, path: str, body: Any = None, **kw: Any) -> dict[str, Any]:
    """Ask for a ceremony's options."""
    answer = send(client, path, body, **kw)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()["publicKey"]
    return found


def register(client: FlaskClient, device: Authenticator, name: str = "", **lies: Any) -> Any:
    """Add a key at the security page; returns the last answer."""
    body = {"name": name} | {key: lies.pop(key) for key in ("next",) if key in lies}
    asked = options(client, "register/options")
    return send(client, "register/verify", {**body, "credential": device.create(asked, **lies)})


def sign_in(client: FlaskClient, device: Authenticator, **lies: Any) -> Any:
    """Sign in by a passkey alone."""
    body = {name: lies.pop(name) for name in ("next", "remember") if name in lies}
    asked = options(client, "login/options", {"flow": "sign_in"})
    found = device.get(asked, **lies)
    return send(client, "login/verify", {"flow": "sign_in", "credential": found, **body})


def confirm(client: FlaskClient, device: Authenticator, flow: str = "mfa", **lies: Any) -> Any:
    """Use a key as second step, of a sign-in or before something sensitive."""
    body: dict[str, Any] = {"flow": flow}
    body |= {name: lies.pop(name) for name in ("purpose", "next") if name in lies}
    asked = options(client, "login/options", body)
    return send(client, "login/verify", {**body, "credential": device.get(asked, **lies)})
