"""`flask iam tenants …`: list, make, suspend, reactivate."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import click
from flask.cli import AppGroup

from .auth.tenants import services_tenant_admin as admin
from .auth.tenants import services_tenants_below as below
from .auth.web import links
from .core.actor import Actor, system_actor
from .core.db import transaction
from .core.errors import IAMError, Misconfigured
from .core.scoping import current_tenant_id, tenant_scope
from .tenancy.services_tenants import TYPES_BELOW, default_tenant_id, find_by_slug

tenants_cli = AppGroup("tenants", help="Tenants.")
CLI = "command line"
_TYPES = click.Choice(TYPES_BELOW["platform"])


def _actor() -> Actor:
    return system_actor(current_tenant_id(), CLI)


def _id_of(slug: str) -> UUID:
    found = find_by_slug(slug)
    if found is None:
        raise click.ClickException(f"no tenant called {slug}")
    return found.id


def _stop(error: IAMError) -> click.ClickException:
    return click.ClickException(str(error.title))


@tenants_cli.command("list")
@click.option("--query", default="", help="Part of a name, a short name or a host.")
def list_(query: str) -> None:
    """List tenants below the default one as a tree, with how many people each has."""
    with tenant_scope(default_tenant_id()):
        rows, complete = below.tree(query)
        held = below.held_by(rows)
        for row in rows:
            click.echo(
                f"{'  ' * row.depth + row.slug:<32} {row.type:<9} {row.status:<10}"
                f" {held[row.id].people:>8}  {row.host or '-':<32} {row.name}"
            )
        if not complete:
            click.echo("… more; narrow it with --query")


@tenants_cli.command("create")
@click.argument("slug")
@click.argument("name")
@click.option("--type", "kind", type=_TYPES, default="tenant", show_default=True)
@click.option("--parent", default="", help="Short name of the tenant above; else the default one.")
@click.option("--host", default="", help="Host name of its own.")
@click.option("--admin", "email", default="", help="E-mail address of its first administrator.")
def create(slug: str, name: str, kind: str, parent: str, host: str, email: str) -> None:
    """Make a tenant with its roles, and invite its first administrator."""
    new = admin.NewTenant(slug, name, kind, host, email)
    wrong = admin.wrong_in(new)
    if wrong:
        raise click.ClickException("\n       ".join(str(item.title) for item in wrong))
    with tenant_scope(default_tenant_id()):
        try:
            with transaction():
                above = _id_of(parent) if parent else current_tenant_id()
                made = admin.create(new, parent_id=above, actor_grants=None, actor=_actor())
        except IAMError as error:
            raise _stop(error) from None
        click.echo(f"Created    {slug} ({kind}, id {made})")
        click.echo(f"Address    {_address(below.get(made))}")
    click.echo(f"Next       {_next(slug, email)}")


@tenants_cli.command("invite")
@click.argument("slug")
@click.argument("email")
def invite(slug: str, email: str) -> None:
    """Invite the first administrator of a tenant in which nobody is yet."""
    _run(lambda: admin.invite_admin(_id_of(slug), email, actor_grants=None, actor=_actor()))
    click.echo(f"Invited    {email}")


@tenants_cli.command("suspend")
@click.argument("slug")
@click.option("--reason", prompt=True)
def suspend(slug: str, reason: str) -> None:
    """Suspend a tenant; its sessions end at once."""
    _turn(admin.suspend, slug, reason)
    click.echo(f"Suspended  {slug}")


@tenants_cli.command("reactivate")
@click.argument("slug")
@click.option("--reason", prompt=True)
def reactivate(slug: str, reason: str) -> None:
    """Open a suspended tenant again."""
    _turn(admin.reactivate, slug, reason)
    click.echo(f"Active     {slug}")


def _turn(act: Callable[..., None], slug: str, reason: str) -> None:
    _run(lambda: act(_id_of(slug), reason=reason, actor_grants=None, actor=_actor()))


def _run(act: Callable[[], None]) -> None:
    with tenant_scope(default_tenant_id()):
        try:
            with transaction():
                act()
        except IAMError as error:
            raise _stop(error) from None


def _address(row: below.TenantRow) -> str:
    try:
        return links.home_of(row.place)
    except Misconfigured as error:
        return str(error)


def _next(slug: str, email: str) -> str:
    if email:
        return f"{email} gets an invitation; `flask iam worker` delivers it"
    return f"flask iam tenants invite {slug} <e-mail of its first administrator>"
