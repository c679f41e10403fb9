"""Administration of connections: list, one connection, set up, change, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ....core.db import session, transaction
from ....core.errors import Conflict, Forbidden, IAMError, InvalidInput, NotFound
from ....core.i18n import _, lazy
from ....core.ids import parse_id
from ...accounts.admin_pages import admin_bp as bp
from ...models import IAMSsoConnection
from ...providers import Provider, providers
from ...security import requires_permission, requires_step_up
from ...web.current import current_user, request_actor
from ...web.links import public_url
from ...web.pages import redirect_to, render
from .. import services_role_rules as rules
from ..settings_sso import SsoSettings
from . import services_connection_admin as admin
from .connection_pages import KIND_NOTES, connection_page, role_named, row_view, rule_form
from .forms_connections import (
    ATTRIBUTE,
    ENDPOINT,
    OPTION,
    DeleteForm,
    FlagsForm,
    NewForm,
    ProtocolForm,
    SecretForm,
    connection_form,
    fields_of,
    read_values,
    refuse,
)

REFUSALS = (InvalidInput, Conflict, Forbidden)
Act = Callable[[IAMSsoConnection], Any]


@bp.get("/connections")
@requires_permission("admin:access", "connection:read")
def connections() -> BaseResponse:
    """Show every connection with its use."""
    rows, uses = admin.connections(), admin.uses()
    shown = [row_view(row, uses.get(row.id, admin.Use())) for row in rows]
    return render("iam/admin_connections.html", connections=shown)


@bp.route("/connections/new", methods=["GET", "POST"])
@requires_permission("admin:access", "connection:create")
@requires_step_up("admin.connections")
def connection_new() -> BaseResponse:
    """Choose a kind of provider, then set a connection to it up."""
    name = request.args.get("provider", "")
    if name not in providers():
        return render("iam/admin_connection_new.html", kinds=_kinds())
    kind = providers().get(name)
    form = connection_form(kind.form, base=NewForm)
    assert isinstance(form, NewForm)  # noqa: S101 - narrows the type
    if request.method != "POST":
        return _form_page(form, kind)
    if not form.validate():
        return _form_page(form, kind, code=422)
    try:
        with transaction():
            made = admin.create(
                name,
                form.slug.data or "",
                read_values(form),
                client_secret=form.client_secret.data or "",
                actor=request_actor(),
            )
            made_id = made.id
    except REFUSALS as refusal:
        return _refused(form, refusal, kind)
    flash(_("The connection is set up. Test it, then enable it."), "ok")
    return redirect_to("iam_admin.connection", connection_id=made_id)


@bp.get("/connections/<connection_id>")
@requires_permission("admin:access", "connection:read")
def connection(connection_id: str) -> BaseResponse:
    """Show one connection: everything but its secret."""
    return connection_page(_row(connection_id))


@bp.route("/connections/<connection_id>/edit", methods=["GET", "POST"])
@requires_permission("admin:access", "connection:update")
@requires_step_up("admin.connections")
def connection_edit(connection_id: str) -> BaseResponse:
    """Change a connection."""
    row = _row(connection_id)
    kind = _kind(row)
    form = connection_form(kind.form, row, FlagsForm if row.from_settings else ProtocolForm)
    if request.method != "POST":
        return _form_page(form, kind, row)
    if not form.validate():
        return _form_page(form, kind, row, 422)
    secret = form.client_secret.data or "" if isinstance(form, ProtocolForm) else ""
    try:
        with transaction():
            admin.change(
                _row(connection_id),
                read_values(form),
                client_secret=secret,
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except REFUSALS as refusal:
        return _refused(form, refusal, kind, connection_id)
    flash(_("The changes are saved."), "ok")
    return redirect_to("iam_admin.connection", connection_id=connection_id)


@bp.post("/connections/<connection_id>/enable")
@requires_permission("admin:access", "connection:update")
@requires_step_up("admin.connections")
def connection_enable(connection_id: str) -> BaseResponse:
    """Offer a connection on the sign-in page."""
    return _done(
        connection_id,
        lambda row: admin.enable(row, actor=request_actor()),
        _("The connection is enabled."),
    )


@bp.post("/connections/<connection_id>/disable")
@requires_permission("admin:access", "connection:update")
@requires_step_up("admin.connections")
def connection_disable(connection_id: str) -> BaseResponse:
    """Close a connection, and its sessions where its policy says so."""
    return _done(
        connection_id,
        lambda row: admin.disable(row, actor=request_actor()),
        _("The connection is disabled."),
    )


@bp.post("/connections/<connection_id>/default")
@requires_permission("admin:access", "connection:update")
@requires_step_up("admin.connections")
def connection_default(connection_id: str) -> BaseResponse:
    """Make a connection the default one."""
    return _done(
        connection_id,
        lambda row: admin.make_default(row, actor=request_actor()),
        _("This connection is the default now."),
    )


@bp.route("/connections/<connection_id>/rotate", methods=["GET", "POST"])
@requires_permission("admin:access", "connection:update")
@requires_step_up("admin.connections")
def connection_rotate(connection_id: str) -> BaseResponse:
    """Replace the secret of a connection."""
    form = SecretForm()
    if request.method != "POST":
        return _secret_page(form, connection_id)
    if not form.validate():
        return _secret_page(form, connection_id, 422)
    try:
        with transaction():
            secret = form.client_secret.data or ""
            admin.rotate_secret(_row(connection_id), secret, actor=request_actor())
    except REFUSALS as refusal:
        session().rollback()
        refuse(form, refusal)
        return _secret_page(form, connection_id, refusal.status)
    flash(_("The new secret counts from now on."), "ok")
    return redirect_to("iam_admin.connection", connection_id=connection_id)


@bp.route("/connections/<connection_id>/delete", methods=["GET", "POST"])
@requires_permission("admin:access", "connection:delete")
@requires_step_up("admin.connections")
def connection_delete(connection_id: str) -> BaseResponse:
    """Delete a connection, once its name was typed."""
    form = DeleteForm()
    if request.method != "POST":
        return _delete_page(form, connection_id)
    if not form.validate():
        return _delete_page(form, connection_id, 422)
    try:
        with transaction():
            typed = form.name.data or ""
            admin.delete(
                _row(connection_id),
                typed_name=typed,
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except REFUSALS as refusal:
        session().rollback()
        refuse(form, refusal)
        return _delete_page(form, connection_id, refusal.status)
    flash(_("The connection is deleted."), "ok")
    return redirect_to("iam_admin.connections")


@bp.post("/connections/<connection_id>/rules")
@requires_permission("admin:access", "connection:map", "role:assign")
@requires_step_up("admin.connections")
def connection_rule_add(connection_id: str) -> BaseResponse:
    """Let a claim's value give a role."""
    form = rule_form()
    if not form.validate():
        return connection_page(_row(connection_id), form, 422)
    try:
        with transaction():
            rules.add_rule(
                _row(connection_id).id,
                form.claim.data or "",
                form.value.data or "",
                role_named(form.role.data),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except REFUSALS as refusal:
        session().rollback()
        refuse(form, refusal)
        return connection_page(_row(connection_id), form, refusal.status)
    flash(_("The rule is added. It counts from each person’s next sign-in."), "ok")
    return redirect_to("iam_admin.connection", connection_id=connection_id)


@bp.post("/connections/<connection_id>/rules/<rule_id>/remove")
@requires_permission("admin:access", "connection:map", "role:assign")
@requires_step_up("admin.connections")
def connection_rule_remove(connection_id: str, rule_id: str) -> BaseResponse:
    """Take a rule away."""

    def remove(row: IAMSsoConnection) -> None:
        chosen = parse_id(rule_id)
        if chosen not in {rule.id for rule in rules.rules_of(row.id)}:
            raise NotFound
        rules.remove_rule(chosen, actor_grants=current_user.grants, actor=request_actor())

    return _done(connection_id, remove, _("The rule is removed."))


def _row(connection_id: str) -> IAMSsoConnection:
    return admin.get_connection(parse_id(connection_id))


def _kind(row: IAMSsoConnection) -> Provider:
    if row.provider not in providers():  # a host's own, no longer installed
        raise NotFound
    return providers().get(row.provider)


def _done(connection_id: str, act: Act, text: str) -> BaseResponse:
    try:
        with transaction():
            act(_row(connection_id))
    except Conflict as refusal:
        session().rollback()
        row = _row(connection_id)
        return connection_page(row, code=refusal.status, problem=_(str(refusal.title)))
    flash(text, "ok")
    return redirect_to("iam_admin.connection", connection_id=connection_id)


def _kinds() -> list[dict[str, Any]]:
    return [
        {"name": kind.name, "title": _(kind.form.title), "note": KIND_NOTES.get(kind.name, "")}
        for kind in providers()
    ]


def _refused(
    form: FlagsForm, refusal: IAMError, kind: Provider, connection_id: str | None = None
) -> BaseResponse:
    session().rollback()
    refuse(form, refusal)
    row = _row(connection_id) if connection_id else None
    return _form_page(form, kind, row, refusal.status)


def _form_page(
    form: FlagsForm, kind: Provider, row: IAMSsoConnection | None = None, code: int = 200
) -> BaseResponse:
    marker = "…"
    start = public_url("iam_auth.sso_callback", provider=marker)
    return render(
        "iam/admin_connection_form.html",
        code,
        form=form,
        connection=_brief(row) if row is not None else None,
        kind={
            "name": kind.name,
            "title": lazy(kind.form.title),
            "scopes": kind.form.scopes,
            "discovery_url": kind.form.discovery_url,
            "endpoints": kind.form.endpoints,
            "needs_discovery": kind.form.needs_discovery,
        },
        options=fields_of(form, OPTION),
        endpoints=fields_of(form, ENDPOINT),
        attributes=fields_of(form, ATTRIBUTE),
        private=SsoSettings.current().SSO_ALLOW_PRIVATE,
        redirect_uri_start=start.partition("%E2%80%A6")[0],
    )


def _secret_page(form: SecretForm, connection_id: str, code: int = 200) -> BaseResponse:
    row = _row(connection_id)
    if row.from_settings:
        raise NotFound
    return render("iam/admin_connection_secret.html", code, form=form, connection=_brief(row))


def _delete_page(form: DeleteForm, connection_id: str, code: int = 200) -> BaseResponse:
    row = _row(connection_id)
    people = admin.people_of(row.id)
    return render(
        "iam/admin_connection_delete.html", code, form=form, connection=_brief(row), people=people
    )


def _brief(row: IAMSsoConnection) -> dict[str, UUID | str | bool | Any]:
    # The template gets no row, so that no slip can show what is stored of the secret (AT-387).
    names = ("id", "name", "secret_changed_at", "from_settings")
    return {name: getattr(row, name) for name in names}
