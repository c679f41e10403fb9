"""The example of docs/howto/add-a-provider.md works: installed as it is printed, it signs in."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from app.auth.providers import Provider, providers
from app.auth.sso.connection import Answer, Connection
from app.auth.sso.errors_sso import SsoRefused
from app.auth.sso.protocol.transport import authorization_url, exchange
from app.auth.sso.userinfo import UserInfo
from app.core.crypto import token_digest
from tests.support.lying_provider import Grant, LyingProvider

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "add-a-provider.md"
CALLBACK = "http://localhost/auth/sso/discord/callback"
VERIFIER = "a-verifier-of-forty-three-characters-or-more-0123"


class DiscordServer(LyingProvider):
    """Discord's addresses and its answer about a person."""

    PATHS = {
        "authorize": "/oauth2/authorize",
        "token": "/api/oauth2/token",
        "userinfo": "/api/users/@me",
    }
    requires_openid = False
    names_itself = False

    def userinfo(self, grant: Grant) -> dict[str, Any]:
        person = grant.person
        about = {"username": "ann", "global_name": "Ann", "locale": "en-US"}
        address = {"email": person.get("email"), "verified": person.get("email_verified")}
        return {"id": person["sub"], **about, **address}


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(found) == 1, language
    return str(found[0])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Install the page's package: its file, and the entry point that its pyproject names."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    # The wheel is called `iam`, the checkout `app`.
    (package / "discord.py").write_text(block("python").replace("from iam.", "from app."))
    section, line = block("toml").strip().splitlines()
    group = re.fullmatch(r'\[project\.entry-points\."(.+)"\]', section)
    assert group
    about = tmp_path / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group[1]}]\n{line.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    providers.cache_clear()
    yield providers().get("discord")
    providers.cache_clear()
    for name in ("my_package", "my_package.discord"):
        sys.modules.pop(name, None)


@pytest.fixture
def discord() -> Iterator[DiscordServer]:
    with DiscordServer() as server:
        yield server


@pytest.fixture
def connection(discord: DiscordServer) -> Connection:
    return Connection(
        id=uuid4(),
        tenant_id=uuid4(),
        slug="discord",
        provider="discord",
        name="Discord",
        enabled=True,
        is_default=False,
        client_id=discord.client_id,
        client_secret=discord.client_secret,
        endpoints=discord.endpoints,
        allow_private=True,
    )


def identified(server: DiscordServer, provider: Provider, connection: Connection) -> UserInfo:
    """Go there and back as the flow does, and ask who it was."""
    metadata = provider.metadata(connection)
    url = authorization_url(
        connection,
        metadata,
        redirect_uri=CALLBACK,
        state="state",
        nonce="nonce",
        code_verifier=VERIFIER,
        params=provider.authorize_params(connection),
    )
    code = parse_qs(urlsplit(server.authorize(url)).query)["code"][0]
    tokens = exchange(
        connection, metadata, provider, code=code, code_verifier=VERIFIER, redirect_uri=CALLBACK
    )
    return provider.identify(connection, Answer(tokens, token_digest("nonce")))


def test_the_example_signs_in(
    app: Any, installed: Provider, discord: DiscordServer, connection: Connection
) -> None:
    """Id, names and the verified address arrive; the scopes of its form were asked for."""
    discord.person(sub="80351110224678912", email="ann@example.org", email_verified=True)
    info = identified(discord, installed, connection)
    assert (info.issuer, info.subject) == (discord.issuer, "80351110224678912")
    assert (info.username, info.name) == ("ann", "Ann")
    assert (info.email, info.email_verified) == ("ann@example.org", True)
    assert discord.last("authorize").query["scope"] == "identify email"


def test_the_example_believes_no_unverified_address(
    app: Any, installed: Provider, discord: DiscordServer, connection: Connection
) -> None:
    for said in (False, "true", 1, None):
        discord.person(sub="1", email="ann@example.org", email_verified=said)  # type: ignore[arg-type]
        assert identified(discord, installed, connection).email_verified is False


def test_the_example_refuses_what_names_nobody(
    app: Any, installed: Provider, discord: DiscordServer, connection: Connection
) -> None:
    for told in ({"id": "ann"}, {"id": None}, {"id": True}, {"id": ["1"]}):
        discord.lies.userinfo = told
        with pytest.raises(SsoRefused):
            identified(discord, installed, connection)
    discord.lies.userinfo = lambda honest: [honest]
    with pytest.raises(SsoRefused):
        identified(discord, installed, connection)


def test_the_example_leads_to_the_public_service(
    app: Any, installed: Provider, connection: Connection
) -> None:
    """Without addresses of its own, a connection goes where the page says."""
    public = installed.metadata(replace(connection, endpoints={}, allow_private=False))
    assert public.authorization_endpoint == "https://discord.com/oauth2/authorize"
    assert public.issuer == "https://discord.com"
