"""Administration of a tenant's own settings: what is in force, and what it chose itself."""

from __future__ import annotations

from typing import Any

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ..auth.forms import IAMForm
from ..auth.security import requires_permission, requires_step_up
from ..auth.sessions.services_session_policy import kinds_of, may_come_from
from ..auth.web.blueprint import IAMBlueprint
from ..auth.web.current import current_user, request_actor
from ..auth.web.pages import redirect_to, render
from ..core.db import transaction
from ..core.errors import NotFound
from ..core.i18n import _
from . import services_settings
from . import setting_words as words
from .errors import UnfitSettings
from .forms_settings import changes_in, form_for, hints, tell
from .services_settings import Choice

SESSIONS = "IAM_SESSION_POLICIES"
bp = IAMBlueprint("iam_settings", "IAM_ADMIN_PREFIX", "/settings")


@bp.get("")
@requires_permission("admin:access", "settings:read")
def settings() -> BaseResponse:
    """Show every setting that the tenant may choose, with its value and where that is from."""
    grouped: dict[str, list[dict[str, Any]]] = {group: [] for group in words.GROUPS}
    for item in services_settings.choices():
        grouped[words.group_of(item.name)].append(_row(item))
    return render(
        "iam/admin_settings.html",
        groups=[_group(name) | {"rows": rows} for name, rows in grouped.items() if rows],
    )


@bp.route("/<group>", methods=["GET", "POST"])
@requires_permission("admin:access", "settings:update")
@requires_step_up("admin.settings")
def change(group: str) -> BaseResponse:
    """Change the settings of one group."""
    listed = _choices(group)
    form = form_for(listed)
    if request.method != "POST":
        return _form_page(group, form, listed, 200)
    sound = form.validate()
    try:
        with transaction():
            changes = changes_in(form, _choices(group))
            after = services_settings.after_changes(services_settings.overrides(), changes)
            if SESSIONS in changes:
                _stay_in(after)
            if sound and changes:
                services_settings.override(changes, actor=request_actor())
    except UnfitSettings as refusal:
        tell(form, refusal.reasons)
        sound = False
    if not sound:
        return _form_page(group, form, listed, 422)
    flash(_("The settings are saved. They count from the next click."), "ok")
    return redirect_to("iam_settings.settings")


def _stay_in(after: dict[str, Any]) -> None:
    """Refuse networks that would end the session of the person who saves them.

    Whoever came in an access context is held to the settings of their own tenant.
    """
    person, ip = current_user, request_actor().ip
    kinds = kinds_of(person.actor_type, person.grants.roles)
    if person.access_context_id is None and not may_come_from(kinds, after, ip):
        reason = _(
            "These networks would shut you out: your address is %(address)s. Add a network that "
            "holds it.",
            address=ip,
        )
        raise UnfitSettings({SESSIONS: reason})


def _choices(group: str) -> list[Choice]:
    found = [item for item in services_settings.choices() if words.group_of(item.name) == group]
    if not found:
        raise NotFound
    return found


def _group(name: str) -> dict[str, Any]:
    title, text = words.GROUPS[name]
    return {"name": name, "title": _(title), "text": _(text)}


def _row(item: Choice) -> dict[str, Any]:
    return {
        "name": item.name,
        "label": words.label(item.name),
        "value": words.in_words(item.value),
        "colour": item.value if item.name == "IAM_BRAND_ACCENT" else "",
        "own": item.own is not None,
        "counts": item.counts,
        "given": words.in_words(item.given),
    }


def _form_page(group: str, form: IAMForm, listed: list[Choice], code: int) -> BaseResponse:
    return render(
        "iam/admin_settings_form.html",
        code,
        group=_group(group),
        form=form,
        fields=[form[item.name] for item in listed],
        hints=hints(listed),
    )
