"""Administration of organizations: the tree, one of them, create, change, close (K3, K4).

A delegated administrator sees their own organizations and what lies below; the rest is
not there for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ..auth.accounts.admin_pages import reach
from ..auth.accounts.forms_admin import show
from ..auth.accounts.services_reach import count_people
from ..auth.security import reaches, requires_permission_somewhere, requires_step_up
from ..auth.web.blueprint import IAMBlueprint
from ..auth.web.current import current_user, request_actor
from ..auth.web.pages import redirect_to, render
from ..core.db import transaction
from ..core.errors import Conflict, IAMError, InvalidInput, NotFound
from ..core.i18n import _
from ..core.ids import parse_id
from . import services_organizations as services
from .errors import OrganizationInUse
from .forms_organizations import STAYS, TYPE_LABELS, ConfirmForm, OrganizationForm
from .models import IAMOrganization
from .services_organizations import ACTIVE, CLOSED, Branch

bp = IAMBlueprint("iam_organizations", "IAM_ADMIN_PREFIX", "/organizations")
MOST_SHOWN = 500


@bp.get("")
@requires_permission_somewhere("admin:access", "organization:read")
def organizations() -> BaseResponse:
    """Show the tree of organizations, or those whose names hold what is searched for."""
    q = request.args.get("q", "").strip()[:120]
    tree = _tree("organization:read")
    found = [item for item in tree if q.casefold() in item.row.name.casefold()]
    people = _people()
    return render(
        "iam/admin_organizations.html",
        organizations=[_listed(item, people, flat=bool(q)) for item in found[:MOST_SHOWN]],
        q=q,
        all=len(tree),
        left_out=max(0, len(found) - MOST_SHOWN),
        counted=people is not None,
        may_create=reaches("organization:create"),
    )


@bp.route("/new", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "organization:create")
@requires_step_up("admin.organizations")
def organization_new() -> BaseResponse:
    """Create an organization below one within reach, or at the top of the tenant."""
    form = OrganizationForm(type="client", parent_id=request.args.get("parent", ""))
    may = reach("organization:create")
    form.offer_choices(_open(_tree("organization:create")), top=may.has(None), stays=False)
    if request.method != "POST":
        return _form_page(form, 200)
    if not form.validate():
        return _form_page(form, 422)
    try:
        with transaction():
            made = services.create_organization(
                form.name.data or "",
                kind=form.type.data,
                parent_id=parse_id(form.parent_id.data),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
            made_id = made.id
    except (InvalidInput, Conflict) as refusal:
        return _refused(form, refusal)
    flash(_("The organization is created."), "ok")
    return redirect_to("iam_organizations.organization", organization_id=made_id)


@bp.get("/<organization_id>")
@requires_permission_somewhere("admin:access", "organization:read")
def organization(organization_id: str) -> BaseResponse:
    """Show one organization: what lies above and below, and how many people are in it."""
    return _page(_find(organization_id, "organization:read"))


@bp.route("/<organization_id>/edit", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "organization:update")
@requires_step_up("admin.organizations")
def organization_edit(organization_id: str) -> BaseResponse:
    """Rename an organization, change its type, or move it with all that lies below."""
    found = _find(organization_id, "organization:update")
    form = OrganizationForm(obj=found)
    hidden = _offer_places(form, found)
    if request.method != "POST":
        form.parent_id.data = STAYS if hidden else str(found.parent_id or "")
        return _form_page(form, 200, found)
    if not form.validate():
        return _form_page(form, 422, found)
    try:
        with transaction():
            _change(_find(organization_id, "organization:update"), form)
    except (InvalidInput, Conflict) as refusal:
        return _refused(form, refusal, _find(organization_id, "organization:update"))
    flash(_("The changes are saved. They count from the next click of everybody."), "ok")
    return redirect_to("iam_organizations.organization", organization_id=organization_id)


@bp.route("/<organization_id>/close", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "organization:update")
@requires_step_up("admin.organizations")
def organization_close(organization_id: str) -> BaseResponse:
    """Close an organization that nobody is in."""
    return _ask_or_do(organization_id, closing=True)


@bp.route("/<organization_id>/reopen", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "organization:update")
@requires_step_up("admin.organizations")
def organization_reopen(organization_id: str) -> BaseResponse:
    """Open a closed organization again."""
    return _ask_or_do(organization_id, closing=False)


def _find(organization_id: str, permission: str) -> IAMOrganization:
    found = services.get_organization(parse_id(organization_id))
    if not reach(permission).has(found.id):
        raise NotFound
    return found


def _tree(permission: str) -> list[Branch]:
    return services.list_tree(reach(permission).organizations)


def _open(tree: list[Branch]) -> list[Branch]:
    return [item for item in tree if item.row.status == ACTIVE]


def _offer_places(form: OrganizationForm, found: IAMOrganization) -> bool:
    # Where it lies may be beyond the reader's reach: it may stay there, unnamed.
    may = reach("organization:update")
    below = _below(_tree("organization:update"), found.id)
    places = [item for item in _tree("organization:update") if item.row.id not in below]
    hidden = not may.has(found.parent_id)
    offered = [item for item in places if item.row.status == ACTIVE]
    kept = [item for item in places if item.row.id == found.parent_id and item not in offered]
    form.offer_choices([*kept, *offered], top=may.has(None), stays=hidden)
    return hidden


def _change(found: IAMOrganization, form: OrganizationForm) -> None:
    stays = form.parent_id.data == STAYS
    services.update_organization(
        found,
        name=form.name.data or "",
        kind=form.type.data,
        parent_id=found.parent_id if stays else parse_id(form.parent_id.data),
        actor_grants=current_user.grants,
        actor=request_actor(),
    )


def _ask_or_do(organization_id: str, *, closing: bool) -> BaseResponse:
    found = _find(organization_id, "organization:update")
    if not reach("organization:update").has(found.parent_id):
        raise NotFound  # the topmost of one's own is for whoever stands above
    form = ConfirmForm()
    if request.method != "POST":
        return _confirm_page(found, form, 200, closing=closing)
    act = services.close_organization if closing else services.reopen_organization
    try:
        with transaction():
            act(
                _find(organization_id, "organization:update"),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except (InvalidInput, Conflict) as refusal:
        if not isinstance(refusal, OrganizationInUse):  # what is inside the page says itself
            form.form_errors.append(_(str(refusal.title)))
        again = _find(organization_id, "organization:update")
        return _confirm_page(again, form, refusal.status, closing=closing)
    flash(_("The organization is closed.") if closing else _("The organization is open."), "ok")
    return redirect_to("iam_organizations.organization", organization_id=organization_id)


def _people() -> Mapping[UUID, int] | None:
    return count_people(reach("user:read")) if reaches("user:read") else None


def _below(tree: list[Branch], top: UUID) -> set[UUID]:
    found = {top}
    for item in tree:  # parents come before their children
        if item.row.parent_id in found:
            found.add(item.row.id)
    return found


def _listed(item: Branch, people: Mapping[UUID, int] | None, *, flat: bool) -> dict[str, Any]:
    return _view(item.row) | {
        "depth": 0 if flat else min(item.depth, 6),
        "people": (people or {}).get(item.row.id, 0),
    }


def _view(row: IAMOrganization) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "type": TYPE_LABELS.get(row.type, row.type),
        "is_closed": row.status == CLOSED,
        "created_at": row.created_at,
    }


def _page(found: IAMOrganization) -> BaseResponse:
    tree = _tree("organization:read")
    rows = {item.row.id: item.row for item in tree}
    above: list[dict[str, Any]] = []
    parent = rows.get(found.parent_id) if found.parent_id else None
    while parent is not None and len(above) < services.MAX_DEPTH:
        above.append(_view(parent))
        parent = rows.get(parent.parent_id) if parent.parent_id else None
    below, people = _below(tree, found.id), _people()
    counts = people or {}
    return render(
        "iam/admin_organization.html",
        organization=_view(found),
        above=above[::-1],
        children=[
            _listed(item, people, flat=True) for item in tree if item.row.parent_id == found.id
        ],
        counted=people is not None and reach("user:read").has(found.id),
        people=counts.get(found.id, 0),
        people_below=sum(counts.get(item, 0) for item in below),
        acts=_acts(found),
    )


def _acts(found: IAMOrganization) -> set[str]:
    may = reach("organization:update")
    closed, stands_above = found.status == CLOSED, may.has(found.parent_id)
    offered = {
        "edit": may.has(found.id),
        "close": may.has(found.id) and stands_above and not closed,
        "reopen": may.has(found.id) and stands_above and closed,
        "create": reach("organization:create").has(found.id) and not closed,
        "people": reach("user:create").has(found.id) and not closed,
    }
    return {name for name, yes in offered.items() if yes}


def _refused(
    form: OrganizationForm, refusal: IAMError, found: IAMOrganization | None = None
) -> BaseResponse:
    show(form, refusal)
    return _form_page(form, refusal.status, found)


def _form_page(
    form: OrganizationForm, code: int, found: IAMOrganization | None = None
) -> BaseResponse:
    organization = _view(found) if found is not None else None
    return render("iam/admin_organization_form.html", code, form=form, organization=organization)


def _confirm_page(
    found: IAMOrganization, form: ConfirmForm, code: int, *, closing: bool
) -> BaseResponse:
    return render(
        "iam/admin_organization_confirm.html",
        code,
        organization=_view(found),
        closing=closing,
        inside=services.still_inside(found) if closing else frozenset(),
        may_see_people=reach("user:read").has(found.id),
        form=form,
    )
