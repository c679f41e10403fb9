"""The audit trail on the command line: `flask iam audit …`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO
from uuid import UUID

import click
from flask.cli import AppGroup, with_appcontext

from .audit import anchors, services_bundle, services_retention, verifier
from .audit.sealing import (
    alarms,
    sealer,
    services_audit_keys,
    services_checkpoints,
    services_proofs,
)
from .audit.settings import AuditSettings
from .core import clock
from .core import migrations as schema_migrations
from .core.actor import system_actor
from .core.db import engine
from .core.errors import IAMError
from .core.scoping import tenant_scope
from .tenancy.services_settings import effective
from .tenancy.services_tenants import default_tenant_id, find_by_slug

audit_cli = AppGroup("audit", help="The audit trail.")


@audit_cli.command("verify")
@click.option("--tenant", "slug", default="", help="Slug of one tenant; all of them if left.")
@click.option("--key", "keys", multiple=True, help="A verifier key that you kept; repeat for more.")
@click.option("--keys", "listed", type=click.File(), help="A file of them, one in a line.")
@click.option("--anchor", "files", multiple=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--fresh-within", help="Fail where the newest checkpoint is older: 90m, 2h, 1d.")
@with_appcontext
def audit_verify(
    slug: str, keys: tuple[str, ...], listed: TextIO | None, files: tuple[str, ...], **asked: str
) -> None:
    """Check that the audit trail is whole, and that its append-only guards stand."""
    others = _check_triggers()
    wanted = [_tenant(slug)] if slug else []
    keys += tuple(verifier.read_keys(listed.read())) if listed else ()
    try:
        report = services_bundle.verify(
            keys=keys, files=[Path(name) for name in files], wanted=wanted, **asked
        )
    except verifier.SourceError as error:
        _tell(verifier.Report(), [*others, "unreadable"])
        raise click.ClickException(f"not verified: {error}") from None
    except ValueError as error:
        raise click.ClickException(f"not verified: {error}") from None
    for line in verifier.summary(report, trusted=bool(keys)):
        click.echo(line)
    if others or not report.intact:
        _tell(report, others)
        sys.exit(1)
    click.echo(f"Intact     append-only guards stand, {clock.now():%Y-%m-%d %H:%M} UTC")


def _check_triggers() -> list[str]:
    """Print what is wrong with the triggers, and return it as codes."""
    missing = schema_migrations.missing_triggers(engine())
    unknown = schema_migrations.unknown_triggers(engine())
    for name in missing:
        click.echo(f"missing    trigger {name}")
    for name in unknown:
        click.echo(f"unknown    trigger {name}")
    return ["trigger_missing"] * bool(missing) + ["trigger_unknown"] * bool(unknown)


def _tell(report: verifier.Report, others: list[str]) -> None:
    actor = system_actor(default_tenant_id(), "audit verify")
    if not alarms.tell_found(report, others, actor=actor):
        click.echo("Note       not recorded: the database does not take it", err=True)


@audit_cli.command("export")
@click.option("--bundle", required=True, type=click.Path(path_type=Path), help="The new file.")
@click.option("--tenant", "slug", default="", help="Slug of one tenant; all of them if left.")
@with_appcontext
def audit_export(bundle: Path, slug: str) -> None:
    """Write all that the stand-alone verifier needs into one new file."""
    wanted = [_tenant(slug)] if slug else []
    actor = system_actor(default_tenant_id(), "command line")
    try:
        with tenant_scope(actor.tenant_id):
            lines = services_bundle.write_bundle(bundle, tenants=wanted, actor=actor)
    except FileExistsError:
        raise click.ClickException(f"{bundle} is there already; name a new file") from None
    except (OSError, verifier.SourceError) as error:
        raise click.ClickException(f"not exported: {error}") from None
    click.echo(f"Wrote      {lines} lines to {bundle}")
    click.echo(f"Next       python verifier.py {bundle} --key …")


@audit_cli.command("prune")
@click.option("--yes", is_flag=True, help="Delete; without it, only tell what would go.")
@with_appcontext
def audit_prune(yes: bool) -> None:
    """Delete events older than AUDIT_RETENTION_DAYS; signed proof of them stays."""
    any_due = any_refused = False
    for tenant_id in services_retention.tenants():
        with tenant_scope(tenant_id):
            days = effective(AuditSettings).AUDIT_RETENTION_DAYS
            try:
                actor = system_actor(tenant_id, "retention")
                prune, due = services_retention.prune, services_retention.due
                found = prune(days, actor=actor) if yes else due(days)
            except services_retention.PruneRefused as refusal:
                click.echo(f"Refused    tenant {tenant_id}: {refusal.title}", err=True)
                any_refused = True
                continue
        if found is None:
            click.echo(f"Nothing    tenant {tenant_id}: no events older than {days} days")
            continue
        any_due = True
        said = "Pruned    " if yes else "Would go  "
        click.echo(
            f"{said} tenant {tenant_id}: events {found.from_seq} to {found.until_seq - 1}, "
            f"signed {found.signed_at:%Y-%m-%d}, kept {days} days"
        )
    if any_due and not yes:
        click.echo("Next       keep a copy (flask iam audit export), then add --yes")
    if any_refused:
        sys.exit(1)


@audit_cli.command("seal")
@click.option("--all", "everything", is_flag=True, help="Search the whole trail, not its end only.")
@click.option("--adopt", "adopting", is_flag=True, help="Once, after an upgrade: see above.")
@with_appcontext
def audit_seal(everything: bool, adopting: bool) -> None:
    """Seal what is unsealed and sign it; the worker does that by itself.

    With --adopt it takes events that a version without sealing wrote, which could not mark
    them as its own. Do that before the upgraded application starts: in a trail that is signed
    they are never taken.
    """
    count = sealer.seal_all(everything=everything, adopting=adopting)
    signed = services_checkpoints.sign_due()
    anchors.deliver_due()
    click.echo(f"Sealed     {count} events, signed {signed} checkpoints")


@audit_cli.command("key")
@click.option("--tenant", "slug", default="", help="Slug of one tenant; all of them if left.")
@click.option("--rotate", is_flag=True, help="Sign with a new key from now on.")
@with_appcontext
def audit_key(slug: str, rotate: bool) -> None:
    """Print the keys that check each tenant's trail; keep them elsewhere."""
    wanted = [_tenant(slug)] if slug else services_retention.tenants()
    for tenant_id in wanted:
        with tenant_scope(tenant_id):
            if rotate:
                _rotate(tenant_id)
            for key in services_audit_keys.public_keys():
                until = f"until {key.retired_at:%Y-%m-%d}" if key.retired_at else "in use"
                click.echo(f"{key.vkey}  # since {key.created_at:%Y-%m-%d}, {until}")
    if not wanted:
        click.echo("Next       flask iam audit seal: the first checkpoint makes the key", err=True)


def _rotate(tenant_id: UUID) -> None:
    try:
        services_checkpoints.rotate_key(actor=system_actor(tenant_id, "command line"))
    except IAMError as error:
        raise click.ClickException(str(error.title)) from None


@audit_cli.command("proof")
@click.argument("event_id", required=False, type=click.UUID)
@click.option("--tenant", "slug", default="", help="Slug of the tenant; the default one if left.")
@click.option("--since", type=click.IntRange(1), help="Size of a checkpoint that you kept.")
@with_appcontext
def audit_proof(event_id: UUID | None, slug: str, since: int | None) -> None:
    """Print the proof that an event is in the trail, or that the trail only grew, as JSON."""
    if event_id is None and since is None:
        raise click.UsageError("name an event, or a size with --since")
    with tenant_scope(_tenant(slug)):
        try:
            found = (
                services_proofs.as_dict(services_proofs.prove(event_id, since=since))
                if event_id
                else services_proofs.growth_as_dict(services_proofs.prove_growth(since or 1))
            )
        except IAMError as error:
            raise click.ClickException(str(error.title)) from None
    click.echo(json.dumps(found, indent=2))
    if found.get("state") == services_proofs.BROKEN or found.get("holds") is False:
        sys.exit(1)


def _tenant(slug: str) -> UUID:
    if not slug:
        return default_tenant_id()
    found = find_by_slug(slug)
    if found is None:
        raise click.ClickException(f"no tenant called {slug}")
    return found.id
