"""The wheel, built once, and host applications that run from it in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
import sqlalchemy as sa

from tests.conftest import ENGINE, csrf_of

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PASSWORD = "correct horse battery staple 42"
TIMEOUT = 60
# What a host decides, and what makes a test quick; never what hides a fault.
SETTINGS = {
    "ARGON2_MEMORY_KIB": "64",
    "ARGON2_TIME_COST": "1",
    "PASSWORD_BREACH_CHECK": "false",
    "IAM_OUTBOX_MODE": "inline",
    # What is switched off answers 404: on, so that its pages are seen in a host.
    "SIGN_IN_LINK_ENABLED": "true",
    "SIGN_IN_CODE_EMAIL_ENABLED": "true",
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    run([*command, str(ROOT)], cwd=folder, env=dict(os.environ))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder)]
    run([*command, str(wheel)], cwd=folder, env=dict(os.environ))
    return folder


def run(
    command: list[str], *, cwd: Path, env: dict[str, str], text: str | None = None, code: int = 0
) -> tuple[str, str]:
    """Run a command to its end; return what it printed and its errors. Checks its exit."""
    done = subprocess.run(
        command, cwd=cwd, env=env, input=text, capture_output=True, text=True,
        timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def environment(installed: Path, host: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a host: its folder and the wheel, never the checkout."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("IAM_", "FLASK_", "PYTEST_", "PYTHON"))
    }
    outside = [
        part
        for part in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if part and Path(part).resolve() != ROOT
    ]
    path = os.pathsep.join([str(host), str(installed), *outside])
    return {**kept, **SETTINGS, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **settings}


@pytest.fixture(scope="session")
def make_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """Return a factory of empty databases, on SQLite or MySQL."""
    made: list[str] = []
    url: sa.URL | None = request.getfixturevalue("mysql_url") if ENGINE == "mysql" else None

    def on_server(statement: str) -> None:
        assert url is not None
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def make() -> str:
        if url is None:
            return f"sqlite:///{tmp_path_factory.mktemp('host') / 'shop.db'}"
        made.append(f"shop_{uuid.uuid4().hex[:12]}")
        on_server(f"CREATE DATABASE {made[-1]} CHARACTER SET utf8mb4")
        return url.set(database=made[-1]).render_as_string(hide_password=False)

    yield make
    for name in made:
        on_server(f"DROP DATABASE {name}")


@dataclass
class Host:
    """A host application: its folder, its environment, and commands run in it."""

    folder: Path
    env: dict[str, str]
    app: str
    database: str

    def flask(self, *command: str, text: str | None = None, code: int = 0) -> str:
        """Run `flask …` in the host."""
        head = [sys.executable, "-m", "flask", "--app", self.app]
        return "".join(run([*head, *command], cwd=self.folder, env=self.env, text=text, code=code))

    def python(self, program: str, *, code: int = 0) -> str:
        """Run a program in the host's environment."""
        command = [sys.executable, "-c", program]
        return run(command, cwd=self.folder, env=self.env, code=code)[0]

    def create_person(self, username: str, role: str) -> None:
        """Create an account on the command line."""
        command = ["iam", "create-admin", "--username", username]
        command += ["--email", f"{username}@example.com", "--role", role]
        assert "Created" in self.flask(*command, text=f"{PASSWORD}\n{PASSWORD}\n")

    def create_people(self, **roles: str) -> None:
        """Create several, in one process: starting one is what takes the time."""
        program = (
            "import sys\nfrom flask.cli import ScriptInfo\n"
            f"app = ScriptInfo(app_import_path={self.app!r}).load_app()\n"
            f"for name, role in {list(roles.items())!r}:\n"
            "    args = ['iam', 'create-admin', '--username', name, '--role', role,\n"
            "            '--email', name + '@example.com']\n"
            f"    typed = {PASSWORD!r} + chr(10)\n"
            "    done = app.test_cli_runner().invoke(args=args, input=typed * 2)\n"
            "    assert done.exit_code == 0, done.output\n"
        )
        self.python(program)

    def pages(self) -> list[str]:
        """Return the addresses of our pages that need no id."""
        program = (
            "import json; from flask.cli import ScriptInfo\n"
            f"app = ScriptInfo(app_import_path={self.app!r}).load_app()\n"
            "print('\\n' + json.dumps([r.rule for r in app.url_map.iter_rules() if 'GET' in "
            "r.methods and not r.arguments and r.endpoint.startswith('iam_')]))"
        )
        found: list[str] = json.loads(self.python(program).strip().splitlines()[-1])
        return sorted(found)


def make_host(installed: Path, folder: Path, app: str, database: str, **settings: str) -> Host:
    """Return a host in `folder`, on an empty database, before any migration."""
    settings = {"SHOP_DATABASE": database, "SHOP_MIGRATIONS": str(folder / "versions"), **settings}
    return Host(folder, environment(installed, folder, **settings), app, database)


@pytest.fixture(scope="session")
def make_shop(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Host]:
    """Return a factory of copies of the shop: `make_shop(database, IAM_AUTH_PREFIX="/id")`."""

    def make(database: str, **settings: str) -> Host:
        folder = tmp_path_factory.mktemp("shop")
        shutil.copytree(HERE / "shop", folder, dirs_exist_ok=True)
        return make_host(installed, folder, "app:create_app", database, **settings)

    return make


@pytest.fixture(scope="session")
def shop(make_shop: Callable[..., Host], make_database: Callable[[], str]) -> Host:
    """Return the shop, migrated, with an editor, a viewer and an administrator."""
    host = make_shop(make_database())
    host.flask("iam", "init-db")
    host.flask("db", "init")
    host.create_people(ed="editor", vi="viewer", root="tenant_admin")
    return host


class Browser:
    """A person's browser on a running host: cookies, no redirects followed unasked."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=TIMEOUT, trust_env=False)

    def get(self, path: str, **kw: Any) -> httpx.Response:
        """Load a page."""
        return self.client.get(path, **kw)

    def post(self, path: str, data: dict[str, str], page: str | None = None) -> httpx.Response:
        """Load a page for its token and send its form."""
        token = csrf_of(self.get(page or path).text)
        return self.client.post(path, data={**data, "csrf_token": token})

    def sign_in(self, username: str, prefix: str = "/auth") -> httpx.Response:
        """Give name and password."""
        form = {"username": username, "password": PASSWORD}
        return self.post(f"{prefix}/login", form)

    def enrol_totp(self, prefix: str = "/auth") -> str:
        """Enrol the authenticator app that a pending sign-in asks for; return its secret."""
        page = f"{prefix}/mfa/enrol/totp"
        self.post(page, {"action": "start"})
        found = re.search(r'data-copy-text="([A-Z2-7]+)"', self.get(page).text)
        assert found, self.get(page).text
        answer = self.post(page, {"code": pyotp.TOTP(found.group(1)).now()})
        assert answer.status_code in {200, 303}, answer.text
        return found.group(1)


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Host], str]]:
    """Return a helper that runs a host on a port of its own and returns its address."""
    running: list[tuple[subprocess.Popen[str], Any]] = []

    def start(host: Host) -> str:
        port = _free_port()
        command = [sys.executable, "-m", "flask", "--app", host.app, "run", "--no-reload"]
        log = (host.folder / f"server-{port}.log").open("w+", encoding="utf-8")
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=host.folder, env=host.env, stdout=log, stderr=log,
            text=True,
        )  # fmt: skip
        running.append((server, log))
        _wait(server, port, Path(log.name))
        return f"http://127.0.0.1:{port}"

    yield start
    for server, log in running:
        server.terminate()
        server.wait(timeout=TIMEOUT)
        log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text(encoding="utf-8")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the host did not start\n{log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="session")
def address(shop: Host, serve: Callable[[Host], str]) -> str:
    """Return the address of the running shop."""
    return serve(shop)


@pytest.fixture
def browse() -> Iterator[Callable[[str], Browser]]:
    """Return a factory of browsers, closed after the test."""
    opened: list[Browser] = []

    def browser(where: str) -> Browser:
        opened.append(Browser(where))
        return opened[-1]

    yield browser
    for item in opened:
        item.client.close()
