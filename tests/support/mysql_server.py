"""A real MySQL server for the tests, on a machine without containers.

Owns finding, fetching, starting and stopping the server. It owns no schema and no
database: each test session creates its own. Where no server can be had it raises;
a test run on MySQL is never skipped in silence.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pwd
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pymysql
from sqlalchemy.engine import URL, make_url

URL_VARIABLE = "IAM_TEST_MYSQL_URL"
MINIMUM_VERSION = (8, 4)
SERVER_PACKAGE = "mysql-server-core"
START_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 30.0
LOOPBACK = "127.0.0.1"
ROOT_DIRECTORY = Path(__file__).resolve().parents[2]

# mysqld refuses to run as root; this account owns nothing on a Debian system.
UNPRIVILEGED_USER = "nobody"


class MySQLUnavailableError(RuntimeError):
    """No MySQL server can be had here; the message says what would help."""


@dataclass(frozen=True)
class MySQLServer:
    """A running server and an account that may do anything on it."""

    host: str
    port: int
    user: str
    password: str
    url: str
    version: str

    def url_for(self, database: str) -> str:
        """Return the SQLAlchemy URL of one database, in the full UTF-8 character set."""
        url = make_url(self.url).set(database=database).update_query_dict({"charset": "utf8mb4"})
        return url.render_as_string(hide_password=False)


@dataclass(frozen=True)
class Installation:
    """A mysqld that can be run: its command and, if it was unpacked by hand, its data files."""

    command: tuple[str, ...]
    share: Path | None = None


# --------------------------------------------------------------------------- the public function


@contextlib.contextmanager
def mysql_server() -> Iterator[MySQLServer]:
    """Yield a MySQL server >= 8.4: the given one, or a private one stopped afterwards.

    Raises MySQLUnavailableError.
    """
    given = os.environ.get(URL_VARIABLE)
    if given:
        yield describe(given)
        return
    with private_server() as server:
        yield server


def describe(url: str) -> MySQLServer:
    """Connect once to the server of a URL and describe it.

    Raises MySQLUnavailableError where it does not answer, is too old or is MariaDB.
    """
    parsed = make_url(url).set(database=None, query={})
    host, port = parsed.host or LOOPBACK, parsed.port or 3306
    user, password = parsed.username or "root", parsed.password or ""
    try:
        version = ask_version(host, port, user, password)
    except pymysql.MySQLError as error:
        raise MySQLUnavailableError(f"{URL_VARIABLE}: {host}:{port}: {error}") from error
    if not acceptable(version):
        raise MySQLUnavailableError(f"{URL_VARIABLE}: need MySQL >= 8.4, found {version}")
    text = parsed.render_as_string(hide_password=False)
    return MySQLServer(host, port, user, password, text, version)


def ask_version(host: str, port: int, user: str, password: str) -> str:
    """Return `SELECT VERSION()` with the comment that tells the forks apart."""
    connection = pymysql.connect(
        host=host, port=port, user=user, password=password, connect_timeout=10
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT CONCAT(VERSION(), ' ', @@version_comment)")
            row = cursor.fetchone()
    finally:
        connection.close()
    return str(row[0]) if row else ""


def acceptable(version: str) -> bool:
    """Tell MySQL >= 8.4 from older servers and from MariaDB."""
    found = re.search(r"(\d+)\.(\d+)", version)
    if found is None or "mariadb" in version.lower():
        return False
    return (int(found[1]), int(found[2])) >= MINIMUM_VERSION


# --------------------------------------------------------------------------- finding mysqld


def find_installation() -> Installation:
    """Return a mysqld to run: from the PATH, the cache, or Debian's unstable suite.

    Raises MySQLUnavailableError.
    """
    return installed_on_path() or fetched_from_debian()


def installed_on_path() -> Installation | None:
    """Return the machine's own mysqld if it is MySQL >= 8.4."""
    # Debian puts servers in a directory that is not on an ordinary user's PATH.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    binary = shutil.which("mysqld", path=path)
    if binary is None:
        return None
    installation = Installation(command=(binary,))
    return installation if acceptable(version_of(installation)) else None


def version_of(installation: Installation) -> str:
    """Return the first line of `mysqld --version`, empty where it cannot run."""
    command = [*installation.command, "--no-defaults", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # The line starts with the path of the binary, whose digits are no version.
    return done.stdout.partition(" Ver ")[2] if done.returncode == 0 else ""


def fetched_from_debian() -> Installation:
    """Return the cached server, fetched first where the cache has none."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        cached = newest_cached(cache)
        if cached is not None:
            return cached
        require_debian()
        # Whoever holds the lock is alone: what lies here was left by a killed run.
        for leftover in cache.glob("incoming-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=cache) as scratch:
            return fetch(Path(scratch), cache)


def cache_directory() -> Path:
    """Return where unpacked servers are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "iam-test" / "mysql"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the kernel frees it if we die."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def newest_cached(cache: Path) -> Installation | None:
    """Return the newest unpacked server that still runs."""
    roots = sorted(cache.glob("server-*"), key=lambda root: root.stat().st_mtime, reverse=True)
    for root in roots:
        with contextlib.suppress(MySQLUnavailableError):
            return unpacked(root)
    return None


def unpacked(root: Path) -> Installation:
    """Describe the server unpacked under `root`.

    Raises MySQLUnavailableError where it does not run or is not MySQL >= 8.4.
    """
    loader = next(iter(root.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*")), None)
    if loader is None:
        raise MySQLUnavailableError(f"no dynamic loader under {root}")
    libraries = [loader.parent, *root.glob("usr/lib/mysql/private")]
    command = (
        str(loader),
        "--library-path",
        os.pathsep.join(map(str, libraries)),
        str(root / "usr/sbin/mysqld"),
    )
    installation = Installation(command=command, share=root / "usr/share/mysql")
    version = version_of(installation)
    if not acceptable(version):
        raise MySQLUnavailableError(f"the fetched mysqld does not run, or is too old: {version!r}")
    return installation


# --------------------------------------------------------------------------- fetching from Debian


def require_debian() -> None:
    """Raise MySQLUnavailableError where apt cannot bring a MySQL server."""
    tools = ("apt-get", "dpkg")
    release = Path("/etc/os-release")
    identity = release.read_text() if release.exists() else ""
    if re.search(r"^ID=\"?debian\"?$", identity, re.MULTILINE) and all(map(shutil.which, tools)):
        return
    raise MySQLUnavailableError(
        "the tests need MySQL >= 8.4: set IAM_TEST_MYSQL_URL=mysql+pymysql://user:password@host "
        "or put its mysqld on the PATH (it is fetched by itself on Debian only)"
    )


def fetch(scratch: Path, cache: Path) -> Installation:
    """Fetch the server and its libraries into the cache, trying each Debian mirror in turn.

    Raises MySQLUnavailableError.
    """
    say("fetching a MySQL server from Debian unstable (once, about 50 MB)")
    failures = []
    for number, mirror in enumerate(debian_mirrors()):
        workspace = scratch / f"mirror-{number}"
        try:
            root = download_and_unpack(mirror, workspace)
            unpacked(root)
        except (subprocess.CalledProcessError, MySQLUnavailableError) as error:
            failures.append(f"{error}\n{getattr(error, 'stderr', '') or ''}")
            continue
        final = cache / f"server-{root.name}"
        # A rename is atomic: another process sees the whole server or none of it.
        root.rename(final)
        return unpacked(final)
    raise MySQLUnavailableError(
        "no Debian mirror of this machine has a usable " + SERVER_PACKAGE + "\n" + "".join(failures)
    )


def debian_mirrors() -> list[str]:
    """Return the archives that this machine's own apt has a Debian release from, likeliest first.

    Raises MySQLUnavailableError where there is none.
    """
    fields = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    # apt reads its sources itself, so both of their file formats are understood; without
    # the release files it answers even on a machine that never ran `apt-get update`.
    question = ["apt-get", "indextargets", "--no-release-info", "--format", fields]
    listing = run_tool([*question, "Created-By: Packages"])
    releases = {os_codename(), "oldstable", "stable", "testing", "unstable", "sid"}
    rows = [tuple(line.split("|")) for line in listing.splitlines()]
    # Other vendors use Debian's names too; theirs fail on the keyring and the next is tried.
    found = dict.fromkeys(
        uri
        for uri, release, component in rows
        if component == "main" and release.removesuffix("-updates") in releases
    )
    if not found:
        raise MySQLUnavailableError("no Debian archive is configured in this machine's apt sources")
    return sorted(found, key=lambda uri: not uri.rstrip("/").endswith("/debian"))


def os_codename() -> str:
    """Return the codename of the running Debian release, 'sid' where it has none."""
    found = re.search(
        r"^VERSION_CODENAME=\"?([\w-]+)", Path("/etc/os-release").read_text(), re.MULTILINE
    )
    return found[1] if found else "sid"


def download_and_unpack(mirror: str, workspace: Path) -> Path:
    """Download the server's library closure and unpack it; return the tree's root."""
    config = write_apt_config(mirror, workspace)
    run_tool(["apt-get", "update", "-qq"], APT_CONFIG=str(config))
    packages = library_closure(config)
    archives = workspace / "debs"
    archives.mkdir()
    run_tool(["apt-get", "download", "-qq", *packages], cwd=archives, APT_CONFIG=str(config))
    (server,) = archives.glob(f"{SERVER_PACKAGE}_*.deb")
    _, version, architecture = server.stem.split("_")
    root = workspace / f"{version.replace('%3a', '-')}-{architecture}"
    for archive in sorted(archives.glob("*.deb")):
        run_tool(["dpkg", "-x", str(archive), str(root)])
    return root


def write_apt_config(mirror: str, workspace: Path) -> Path:
    """Write a private apt configuration: the machine's own lists and state stay untouched."""
    for name in ("empty", "state/lists/partial", "cache/archives/partial"):
        (workspace / name).mkdir(parents=True)
    (workspace / "state/status").touch()
    (workspace / "sources.list").write_text(f"deb {signed_by()}{mirror} unstable main\n")
    settings = {
        "Dir::Etc::sourcelist": workspace / "sources.list",
        "Dir::Etc::sourceparts": workspace / "empty",
        "Dir::Etc::preferences": workspace / "none",
        "Dir::Etc::preferencesparts": workspace / "empty",
        "Dir::State": workspace / "state",
        "Dir::State::lists": workspace / "state/lists",
        # An empty status makes apt resolve the closure as if nothing were installed.
        "Dir::State::status": workspace / "state/status",
        "Dir::Cache": workspace / "cache",
        # The account _apt cannot enter root's own cache folder.
        "APT::Sandbox::User": "root",
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::Retries": "3",
        "Acquire::Languages": "none",
    }
    config = workspace / "apt.conf"
    config.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    return config


def signed_by() -> str:
    """Name the machine's Debian keyring; without one apt falls back on its trusted keys."""
    folder = Path("/usr/share/keyrings")
    for name in ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg"):
        if (folder / name).exists():
            return f"[signed-by={folder / name}] "
    return ""


def library_closure(config: Path) -> list[str]:
    """Return the server's package and every library it needs, down to the C library."""
    simulation = run_tool(
        ["apt-get", "install", "--simulate", "--no-install-recommends", SERVER_PACKAGE],
        APT_CONFIG=str(config),
    )
    packages = re.findall(r"^Inst (\S+)", simulation, re.MULTILINE)
    # Perl serves the package's shell tools only; mysqld does not load it.
    return [name for name in packages if not re.match(r"(lib)?perl", name)]


def run_tool(command: Sequence[str], cwd: Path | None = None, **environment: str) -> str:
    """Run a packaging tool quietly and return its output.

    Raises CalledProcessError with the tool's own words in `stderr`.
    """
    env = {**os.environ, "LC_ALL": "C", **environment}
    done = subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True)
    return done.stdout


# --------------------------------------------------------------------------- starting mysqld


@contextlib.contextmanager
def private_server() -> Iterator[MySQLServer]:
    """Yield a new server that lives no longer than the calling process, however that ends."""
    guard = subprocess.Popen(
        guard_command("attached"),
        cwd=ROOT_DIRECTORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C in a terminal goes to the whole group; the server stops after the tests.
        start_new_session=True,
    )
    try:
        assert guard.stdout is not None
        yield read_announcement(guard.stdout.readline())
    finally:
        # The guard also stops when its pipe closes, which happens even if we are killed.
        guard.terminate()
        guard.communicate()


def guard_command(mode: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.mysql_server", "guard", mode]


def read_announcement(line: str) -> MySQLServer:
    """Turn the guard's one line into the server it started.

    Raises MySQLUnavailableError with the guard's reason, or where the guard died.
    """
    message: dict[str, Any] = json.loads(line or '{"error": "the guard of the server died"}')
    if "error" in message:
        raise MySQLUnavailableError(message["error"])
    return MySQLServer(**message)


def guard(attached: bool) -> int:
    """Run one server until the parent goes away or SIGTERM arrives; leave nothing behind."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        with running_mysqld(find_installation()) as (process, server, log):
            print(json.dumps(server.__dict__), flush=True)
            watch(process, log, attached)
    except BrokenPipeError:
        return 0  # the parent was killed before there was a server to announce
    except (MySQLUnavailableError, subprocess.CalledProcessError) as error:
        reason = f"{error}\n{getattr(error, 'stderr', '') or ''}".strip()
        print(json.dumps({"error": reason}), flush=True)
        return 1
    return 0


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind on the first signal; a second one must not cut the cleaning short."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(0)


def watch(process: subprocess.Popen[bytes], log: Path, attached: bool) -> None:
    """Return when the parent closed its pipe; tell why where the server died by itself."""
    while process.poll() is None:
        if not attached:
            time.sleep(0.5)
        elif select.select([sys.stdin], [], [], 0.5)[0]:
            return
    say("the MySQL server died:\n" + tail(log))


@contextlib.contextmanager
def running_mysqld(
    installation: Installation,
) -> Iterator[tuple[subprocess.Popen[bytes], MySQLServer, Path]]:
    """Initialise a private data directory, run mysqld on it, stop it and remove it."""
    with tempfile.TemporaryDirectory(prefix="iam-mysql-") as name:
        folder = Path(name)
        password = secrets.token_urlsafe(24)
        base = [*installation.command, *prepare(folder, installation, password)]
        log = folder / "error.log"
        initialise = [*base, "--initialize-insecure", f"--init-file={folder}/accounts.sql"]
        with log.open("wb") as sink:
            done = subprocess.run(initialise, stdout=sink, stderr=sink, check=False)
        if done.returncode:
            raise MySQLUnavailableError("mysqld could not initialise:\n" + tail(log))
        port = free_port()
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [*base, *serving_options(folder, port)], stdout=sink, stderr=sink
            )
        try:
            yield process, wait_until_ready(process, port, password, log), log
        finally:
            stop(process)


def prepare(folder: Path, installation: Installation, password: str) -> list[str]:
    """Lay out the private folder and return the options both mysqld runs share."""
    (folder / "accounts.sql").write_text(accounts(password))
    options = [
        # First by mysqld's own rule: the machine's option files must not reach the tests.
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder}",
        "--innodb-redo-log-capacity=64M",
        "--innodb-flush-log-at-trx-commit=0",
        # Durability is not what these tests are about; a crash loses a folder about to go.
        "--innodb-doublewrite=OFF",
        "--innodb-flush-method=nosync",
        # Loopback only: making keys and certificates for TLS would take a second.
        "--auto-generate-certs=OFF",
        "--skip-log-bin",
        # No statement may read or write files of the machine.
        "--secure-file-priv=NULL",
    ]
    if installation.share is not None:
        # Copied, because the unprivileged account may not enter the cache's parents.
        for part in ("english", "charsets"):
            shutil.copytree(installation.share / part, folder / "share" / part)
        options += [
            f"--lc-messages-dir={folder / 'share'}",
            f"--character-sets-dir={folder / 'share/charsets'}",
        ]
    if os.geteuid() == 0:
        options.append(f"--user={UNPRIVILEGED_USER}")
        hand_over(folder)
    return options


def accounts(password: str) -> str:
    """Return the statements that give both root accounts a password of this run only."""
    # Anyone on this machine can reach the port; no account is left without a password.
    # skip_name_resolve tells 127.0.0.1 from localhost, hence the second account.
    return (
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        f"CREATE USER 'root'@'{LOOPBACK}' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON *.* TO 'root'@'{LOOPBACK}' WITH GRANT OPTION;\n"
    )


def hand_over(folder: Path) -> None:
    """Give the private folder and its files to the unprivileged account."""
    account = pwd.getpwnam(UNPRIVILEGED_USER)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)


def serving_options(folder: Path, port: int) -> list[str]:
    """Return the options of the running server: loopback only, fast, forgetful."""
    return [
        f"--bind-address={LOOPBACK}",
        f"--port={port}",
        f"--socket={folder / 's'}",
        f"--pid-file={folder / 'pid'}",
        "--mysqlx=OFF",
        "--skip-name-resolve",
        "--max-connections=400",
        "--innodb-buffer-pool-size=128M",
        # Creating a trigger must not ask for SUPER if a run turns the binary log on.
        "--log-bin-trust-function-creators=1",
        # A shutdown need not empty the buffers of a directory about to be removed.
        "--innodb-fast-shutdown=2",
    ]


def free_port() -> int:
    """Ask the kernel for a free port on the loopback address."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_until_ready(
    process: subprocess.Popen[bytes], port: int, password: str, log: Path
) -> MySQLServer:
    """Return the server once it answers a query.

    Raises MySQLUnavailableError with the end of its log where it dies or never answers.
    """
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            version = ask_version(LOOPBACK, port, "root", password)
        except pymysql.OperationalError:
            time.sleep(0.05)
            continue
        url = URL.create("mysql+pymysql", "root", password, LOOPBACK, port)
        text = url.render_as_string(hide_password=False)
        return MySQLServer(LOOPBACK, port, "root", password, text, version)
    raise MySQLUnavailableError("mysqld did not start:\n" + tail(log))


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask mysqld to shut down; kill it where it does not."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(log: Path, lines: int = 25) -> str:
    """Return the end of a log for an error message."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


# --------------------------------------------------------------------------- command line


def run_with_server(command: Sequence[str]) -> int:
    """Run a command with IAM_TEST_MYSQL_URL set; the server stops whatever happens to it."""
    with mysql_server() as server:
        say(f"MySQL {server.version} on {server.host}:{server.port}")
        env = {**os.environ, URL_VARIABLE: server.url}
        # The command gets the terminal's Ctrl-C itself and ends in its own way first.
        # A handler, not SIG_IGN: the command would inherit that and never hear of it.
        previous = signal.signal(signal.SIGINT, let_the_command_end)
        try:
            return run_forwarding(command, env)
        finally:
            signal.signal(signal.SIGINT, previous)


def run_forwarding(command: Sequence[str], env: dict[str, str]) -> int:
    """Run a command, hand it our SIGTERM and SIGHUP, and return a shell's exit status."""
    child = subprocess.Popen(command, env=env)

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    status = child.wait()
    return 128 - status if status < 0 else status


def let_the_command_end(number: int, frame: FrameType | None) -> None:
    """Do nothing about a Ctrl-C: waiting for the command goes on."""


def start_detached() -> int:
    """Start a server that outlives this command; print its URL."""
    if running_state() is not None:
        say("already running")
        return print_url()
    cache_directory().mkdir(parents=True, exist_ok=True)
    with (cache_directory() / "detached.log").open("w") as log:
        process = subprocess.Popen(
            guard_command("detached"),
            cwd=ROOT_DIRECTORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    server = read_announcement(process.stdout.readline())
    file = state_file()
    file.touch(mode=0o600)
    file.write_text(json.dumps({"pid": process.pid, "url": server.url}))
    return print_url()


def state_file() -> Path:
    """Return where `start` notes the server for `stop` and `url`; it holds a password."""
    return cache_directory() / "running.json"


def running_state() -> dict[str, Any] | None:
    """Return the detached server's note if its guard is alive."""
    if not state_file().exists():
        return None
    state: dict[str, Any] = json.loads(state_file().read_text())
    arguments = Path(f"/proc/{state['pid']}/cmdline")
    # The number may belong to another program by now; that one must never be signalled.
    if arguments.exists() and b"tests.support.mysql_server" in arguments.read_bytes():
        return state
    return None


def stop_detached() -> int:
    """Stop the server that `start` left running and wait until it is gone."""
    state = running_state()
    if state is not None:
        os.kill(state["pid"], signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while running_state() is not None and time.monotonic() < deadline:
            time.sleep(0.1)
    state_file().unlink(missing_ok=True)
    return 0


def print_url() -> int:
    """Print the detached server's URL; fail where there is none."""
    state = running_state()
    if state is None:
        say("no server is running; start one with: python -m tests.support.mysql_server start")
        return 1
    print(state["url"])
    return 0


def say(text: str) -> None:
    """Write progress where it does not mix with the URL on standard output."""
    print(f"mysql: {text}", file=sys.stderr, flush=True)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.support.mysql_server")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start a server in the background and print its URL")
    commands.add_parser("stop", help="stop the server in the background")
    commands.add_parser("url", help="print the URL of the server in the background")
    run = commands.add_parser("run", help="run a command with a server of its own")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- command")
    hidden = commands.add_parser("guard")
    hidden.add_argument("mode", choices=["attached", "detached"])
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = parse_arguments(arguments)
    try:
        if options.command == "run":
            argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
            return run_with_server(argv or ["true"])
        if options.command == "guard":
            return guard(attached=options.mode == "attached")
        return {"start": start_detached, "stop": stop_detached, "url": print_url}[options.command]()
    except MySQLUnavailableError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
