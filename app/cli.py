"""The command line: `flask iam …`. Output is aligned and says the next step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from . import database_grants
from .audit.personal import services_subject_keys
from .audit.sealing import sealer
from .auth.accounts import services_account_status, services_accounts, services_directory
from .auth.identity import canonical_username
from .auth.liveness import ERASED
from .auth.models import IAMUserAccount
from .auth.passwords import services_password, services_reset
from .authz import services_rbac
from .checks import run_checks
from .cli_audit import audit_cli
from .cli_tenants import tenants_cli
from .core import crypto, hashing
from .core import migrations as schema_migrations
from .core.actor import Actor, system_actor
from .core.checks import Finding
from .core.db import engine, session, transaction
from .core.errors import IAMError, Misconfigured
from .core.runtime import CoreSettings, state
from .core.schema import render_mysql_schema
from .core.scoping import tenant_scope
from .generate import outputs, settings_table
from .notify import services_outbox
from .services_keys import rotate_stored_secrets
from .services_purge import purge_expired
from .tenancy import services_domains
from .tenancy.services_tenants import default_tenant_id, ensure_default_tenant

iam_cli = AppGroup("iam", help="Identity and access management.")
CLI = "command line"
_DOMAINS_SECONDS = 3600
_LOOKS = {"check", "settings", "schema"}


def install(app: Flask) -> None:
    """Add the commands to an app's `flask` command."""
    app.cli.add_command(iam_cli)


@contextmanager
def said_plainly() -> Iterator[None]:
    """Under the `flask` command tell why a start is refused, rather than show a traceback."""
    try:
        yield
    except Misconfigured as refusal:
        if click.get_current_context(silent=True) is None:
            raise
        raise click.ClickException(str(refusal)) from None


def only_looks() -> bool:
    """Return whether this process runs a command that must load what production refuses."""
    if click.get_current_context(silent=True) is None:
        return False
    return any(group == "iam" and name in _LOOKS for group, name in pairwise(sys.argv))


def _actor() -> Actor:
    return system_actor(default_tenant_id(), CLI)


def _stop(error: IAMError) -> None:
    reasons = error.details.get("reasons") or [str(error.title)]
    raise click.ClickException("\n".join(reasons))


def prepare_database() -> None:
    """Bring the database of the current app up to date; harmless when repeated."""
    schema_migrations.upgrade(engine())
    tenant = ensure_default_tenant(CLI)
    with tenant_scope(tenant.id), transaction():
        services_rbac.seed_catalogue(tenant.id, actor=system_actor(tenant.id, CLI))


@iam_cli.command("init-db")
def init_db() -> None:
    """Create or upgrade the tables, the default tenant and the system roles."""
    prepare_database()
    click.echo(f"Database   ready ({engine().dialect.name})")
    click.echo("Next       flask iam create-admin")


@iam_cli.command("create-admin")
@click.option("--username", prompt=True)
@click.option("--email", prompt=True)
@click.option("--role", default="tenant_admin", show_default=True)
def create_admin(username: str, email: str, role: str) -> None:
    """Create an administrator; the password is asked for and never echoed."""
    password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with tenant_scope(default_tenant_id()):
        try:
            user_id = _create_admin(username, email, role, password)
        except IAMError as error:
            _stop(error)
            return
    click.echo(f"Created    {username} ({role}, id {user_id})")
    click.echo("Next       sign in; roles that need a second factor lead you through enrolling one")


def _create_admin(username: str, email: str, role: str, password: str) -> str:
    new = services_password.prepare_first([username, email], password)
    with transaction():
        user = services_accounts.create_user(
            username=username,
            email=email,
            actor_type=role if role.endswith("_admin") else "end_user",
            roles=(role,),
            invite=False,
            password_hash=new.password_hash,
            email_verified=True,
            actor_grants=None,
            actor=_actor(),
        )
    return str(user.id)


@iam_cli.command("seed-demo")
def seed_demo() -> None:
    """Create the demonstration's people; harmless when repeated."""
    try:
        from db.seed import seed  # noqa: PLC0415 - the wheel ships no seed (AT-479)
    except ImportError:
        raise click.ClickException("the demonstration runs from a checkout only") from None
    for line in seed(Path(current_app.instance_path)):
        click.echo(line)


@iam_cli.command("check")
@click.option("--deploy", is_flag=True, help="Fail on everything that production refuses.")
def check(deploy: bool) -> None:
    """Look for settings that are missing, weak or contradictory."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    database = list(_database_findings())
    findings = [*run_checks(app), *database]
    for finding in findings:
        click.echo(f"{finding.id:<10} {finding.text}")
    errors = [item for item in findings if item.is_error]
    click.echo(f"{len(errors)} errors, {len(findings) - len(errors)} warnings")
    if errors:
        click.echo("Next       docs/reference/settings.md; `flask iam settings` lists what is set")
    refused = deploy or state().section(CoreSettings).IAM_ENV == "production"
    if database or (refused and errors):
        sys.exit(1)


def _database_findings() -> Iterator[Finding]:
    try:
        if not schema_migrations.is_current(engine()):
            yield Finding("iam.E010", "the database is not up to date: run `flask iam init-db`")
    except OperationalError:
        yield Finding("iam.E011", "the database cannot be reached: see DATABASE_URL")


@iam_cli.command("settings")
def settings() -> None:
    """List every setting with its value; secrets are masked."""
    for name, value, text in settings_table(state()):
        click.echo(f"{name:<40} {value}\n{'':<40} {text}")


@iam_cli.command("schema")
def schema() -> None:
    """Print the MySQL definition of every table."""
    click.echo(render_mysql_schema(), nl=False)


@iam_cli.command("grants")
@click.option("--user", default="iam_app@%", show_default=True, help="The account: name@host.")
def grants(user: str) -> None:
    """Print the rights of the MySQL account that runs the application (docs/howto/deploy.md)."""
    name = engine().url.database
    if engine().dialect.name != "mysql" or not name:
        raise click.ClickException("only MySQL has accounts with rights of their own")
    try:
        statements = database_grants.grants(name, user)
    except IAMError as error:
        _stop(error)
        return
    for statement in statements:
        click.echo(statement)


@iam_cli.command("generate")
@click.option("--check", "only_check", is_flag=True, help="Fail where a file is out of date.")
def generate(only_check: bool) -> None:
    """Write the generated files: .env.example, the schema and the reference pages."""
    stale = []
    for path, text in outputs().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(path))
        if not only_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        click.echo(f"{'stale' if only_check else 'wrote'}  {name}")
    if only_check and stale:
        sys.exit(1)


@iam_cli.command("purge-expired")
def purge() -> None:
    """Delete what time has made useless: sessions, challenges, links, counters."""
    with tenant_scope(default_tenant_id()):
        for name, count in purge_expired().items():
            click.echo(f"{name:<24} {count:>8}")


@iam_cli.command("worker")
def worker() -> None:
    """Deliver messages, seal the audit trail and look after e-mail domains until interrupted."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_args: stopping.set())
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    threading.Thread(target=_check_domains, args=(app, stopping), daemon=True).start()
    sealing = threading.Thread(target=_seal, args=(app, stopping), name="iam-sealer")
    sealing.start()
    click.echo("Delivering messages, sealing the audit trail. Ctrl-C ends it.")
    services_outbox.run_worker(stopping)
    sealing.join()


def _seal(app: Flask, stopping: threading.Event) -> None:
    with app.app_context():
        sealer.run_worker(stopping)


def _check_domains(app: Flask, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            with app.app_context():
                services_domains.check_due()
        except Exception as error:  # noqa: BLE001 - a lost database comes back; DNS as well
            app.logger.warning("domains not checked: %s", type(error).__name__)
        stopping.wait(_DOMAINS_SECONDS)


keys_cli = AppGroup("keys", help="Encryption keys.")
iam_cli.add_command(keys_cli)


@keys_cli.command("generate")
def keys_generate() -> None:
    """Print a new key for MFA_ENCRYPTION_KEY."""
    click.echo(crypto.new_fernet_key())


@keys_cli.command("rotate")
def keys_rotate() -> None:
    """Re-encrypt stored secrets under the first key of MFA_ENCRYPTION_KEY."""
    count = rotate_stored_secrets(actor=_actor())
    click.echo(f"Re-encrypted {count} secrets")
    click.echo("Next       remove the old key from MFA_ENCRYPTION_KEY and restart")


hash_cli = AppGroup("hash", help="Password hashing.")
iam_cli.add_command(hash_cli)


@hash_cli.command("calibrate")
@click.option("--target-ms", default=100.0, show_default=True)
def hash_calibrate(target_ms: float) -> None:
    """Propose argon2id parameters that take about the target time here."""
    click.echo(f"{'memory KiB':>12} {'time cost':>10} {'parallel':>9} {'ms':>8}")
    for row in hashing.calibrate(target_ms):
        click.echo(
            f"{row.memory_kib:>12} {row.time_cost:>10} {row.parallelism:>9}"
            f" {row.milliseconds:>8.1f}"
        )
    click.echo("Next       set ARGON2_MEMORY_KIB, ARGON2_TIME_COST; hashes renew at sign-in")


users_cli = AppGroup("users", help="Accounts.")
iam_cli.add_command(users_cli)


@users_cli.command("list")
@click.option("--query", default="")
def users_list(query: str) -> None:
    """List accounts, newest first."""
    with tenant_scope(default_tenant_id()):
        page = services_directory.list_users(q=query, size=200)
        for user in page.items:
            click.echo(f"{user.username:<32} {user.status:<12} {user.email or '-':<36} {user.id}")
        if page.next_cursor:
            total = session().scalar(select(func.count()).select_from(IAMUserAccount))
            click.echo(f"… {total} in all; narrow it with --query")


def _find(username: str) -> IAMUserAccount:
    user = session().scalar(
        select(IAMUserAccount).where(
            IAMUserAccount.username_canonical == canonical_username(username)
        )
    )
    if user is None:
        raise click.ClickException(f"no account called {username}")
    return user


@users_cli.command("suspend")
@click.argument("username")
@click.option("--reason", prompt=True)
def users_suspend(username: str, reason: str) -> None:
    """Suspend an account; its sessions end at once."""
    with tenant_scope(default_tenant_id()), transaction():
        services_account_status.suspend(
            _find(username), reason=reason, actor_grants=None, actor=_actor()
        )
    click.echo(f"Suspended  {username}")


@users_cli.command("reactivate")
@click.argument("username")
@click.option("--reason", prompt=True)
def users_reactivate(username: str, reason: str) -> None:
    """Reactivate a suspended account."""
    with tenant_scope(default_tenant_id()), transaction():
        services_account_status.reactivate(
            _find(username), reason=reason, actor_grants=None, actor=_actor()
        )
    click.echo(f"Active     {username}")


@users_cli.command("send-link")
@click.argument("username")
def users_send_link(username: str) -> None:
    """Send a person the link that sets their password."""
    with tenant_scope(default_tenant_id()), transaction():
        services_reset.send_set_password_link(_find(username), actor=_actor())
    click.echo(f"Sent       a set-password link to {username}")


@users_cli.command("erase")
@click.argument("username")
@click.option("--reason")
@click.option("--yes", is_flag=True, help="Do not ask.")
def users_erase(username: str, reason: str | None, yes: bool) -> None:
    """Delete an account and destroy the person's key: the trail tells nothing more of them."""
    with tenant_scope(default_tenant_id()):
        _find(username)  # before any question
    reason = reason or click.prompt("Reason")
    if not yes:
        click.confirm(f"Erase {username} for good? Nobody can undo this", abort=True)
    with tenant_scope(default_tenant_id()), transaction():
        user = _find(username)
        if user.status != ERASED:
            services_account_status.delete_user(
                user, reason=reason, actor_grants=None, actor=_actor()
            )
        services_subject_keys.destroy(user.id, actor=_actor())
    click.echo(f"Erased     {username}")
    click.echo("Next       flask iam audit verify: the trail still proves itself")


domains_cli = AppGroup("domains", help="E-mail domains.")
iam_cli.add_command(domains_cli)


@domains_cli.command("check")
@with_appcontext
def domains_check() -> None:
    """Look again for the DNS records of verified domains; run it every hour."""
    found = services_domains.check_due()
    click.echo(f"Checked    {found.checked + found.missing + found.lost}")
    click.echo(f"Missing    {found.missing} (lost after 72 hours)")
    click.echo(f"Lost       {found.lost}")
    click.echo(f"No answer  {found.unanswered} (looked at again next time)")


iam_cli.add_command(audit_cli)
iam_cli.add_command(tenants_cli)
