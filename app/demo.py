"""The demonstration: `python -m app.demo` prepares, seeds and serves it on loopback.

Everything lives under `instance/`; a second run keeps it. `python -m app.demo totp`
prints the administrators' current codes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pyotp
from waitress.server import create_server

from db.seed import seed, set_url

from .cli import prepare_database
from .core import clock, crypto, rng
from .core.settings import environment
from .factory import create_app

HOST = "127.0.0.1"
NAME = "localhost"  # passkeys are bound to a name; no browser binds one to an address by number
THREADS = 32
FOLDER = Path.cwd() / "instance"


def main() -> None:
    """Run the demonstration, or print codes."""
    if sys.argv[1:] == ["totp"]:
        _print_codes()
        return
    # A shell that starts us in the background has SIGINT ignored; both end us alike.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    port = int(environment().get("PORT", "5000"))
    app = create_app({"IAM_ENV": "demo", **_keys()})
    with app.app_context():
        prepare_database()
        list(seed(FOLDER))
    try:
        server = create_server(
            app,
            host=HOST,
            port=port,
            threads=THREADS,
            ident=None,
            # Kept, so that the outbox page sees a proxy in front and shows nothing.
            clear_untrusted_proxy_headers=False,
        )
    except OSError as error:
        raise SystemExit(f"Port {port} is taken. Try: make demo PORT={port + 1}") from error
    _announce(set_url(FOLDER, f"http://{HOST}:{port}"), port)
    with suppress(KeyboardInterrupt):
        server.run()
    click.echo("\nStopped.")


def _keys() -> dict[str, str]:
    """Return the demonstration's own keys, made at the first run and kept."""
    path = FOLDER / "keys.json"
    if not path.is_file():
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = {"FLASK_SECRET_KEY": rng.token(), "MFA_ENCRYPTION_KEY": crypto.new_fernet_key()}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(keys, file)
    kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def _announce(content: dict[str, Any], port: int) -> None:
    url = content["url"]
    click.echo(f"\nAddress    {url}   (for passkeys: http://{NAME}:{port})")
    click.echo(f"Messages   {url}/dev/outbox\n")
    _list_people(content["users"])
    for tenant in content["tenants"].values():
        click.echo(f"\n{tenant['name']} is a tenant of its own: {url}{tenant['path']}/auth/login\n")
        _list_people(tenant["users"])
    click.echo("\nCtrl-C ends it.")


def _list_people(users: dict[str, Any]) -> None:
    click.echo(f"{'username':<16} {'password':<30} {'roles':<16} second factor")
    for user in users.values():
        factor = "make totp" if user["totp_secret"] else "enrol one"
        roles = ", ".join(user["roles"])
        click.echo(f"{user['username']:<16} {user['password']:<30} {roles:<16} {factor}")


def _print_codes() -> None:
    path = FOLDER / "demo.json"
    if not path.is_file():
        raise click.ClickException("no demonstration here yet: run `make demo` first")
    content = json.loads(path.read_text(encoding="utf-8"))
    users = [*content["users"].values()]
    for tenant in content.get("tenants", {}).values():
        users += tenant["users"].values()
    now = clock.now()
    left = 30 - int(now.timestamp()) % 30
    for user in users:
        if user["totp_secret"]:
            code = pyotp.TOTP(user["totp_secret"]).at(now)
            click.echo(f"{user['username']:<16} {code}   for {left} more seconds")


if __name__ == "__main__":
    main()
