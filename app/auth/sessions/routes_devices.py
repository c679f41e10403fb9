"""A person's devices: listed, renamed, trusted, removed (J3, F2).

Trusting a device and removing one demand fresh proof: a thief of a session must neither
settle in nor shut the owner out. Ending trust takes away only what was granted.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import flash
from werkzeug.wrappers import Response as BaseResponse

from ...core import clock
from ...core.db import transaction
from ...core.i18n import _
from ...core.ids import parse_id
from ...risk import services_devices
from ..forms import DeviceNameForm, IAMForm, text
from ..identity import MAX_NAME
from ..mfa.enrol_pages import SECURITY
from ..security import requires_login, requires_step_up, signed_in
from ..web.blueprint import account_bp
from ..web.current import current_user, drop_session, request_actor
from ..web.pages import redirect_to, render
from . import services_device_trust, services_sessions

bp = account_bp


@bp.get("/devices")
@requires_login
def devices() -> BaseResponse:
    """Show the browsers the person has signed in from."""
    at = clock.now()
    rows = services_devices.list_devices(current_user.user_id)
    found = [_device_view(row, at) for row in rows]
    return render(
        "iam/account_devices.html",
        devices=sorted(found, key=lambda item: not item["current"]),
        trust_days=services_device_trust.days_here(signed_in()),
        any_trusted=any(item["trusted"] for item in found),
        any_other=any(not item["current"] for item in found),
        form=IAMForm(),
    )


@bp.post("/devices/<device_id>/rename")
@requires_login
def device_rename(device_id: str) -> BaseResponse:
    """Give a device another name."""
    form = DeviceNameForm()
    if not form.validate():
        said = text(form.name) and len(text(form.name)) <= MAX_NAME and form.name.errors
        flash(said[0] if said else _("Enter a name of up to 80 characters."), "bad")
        return redirect_to("iam_account.devices")
    with transaction():
        device = services_devices.get_device(current_user.user_id, parse_id(device_id))
        services_devices.rename_device(device, text(form.name), actor=request_actor())
    flash(_("The device is renamed."), "ok")
    return redirect_to("iam_account.devices")


@bp.post("/devices/trust")
@requires_step_up(SECURITY)
def device_trust() -> BaseResponse:
    """Trust the device in use: its next sign-ins do without the second step, for a while."""
    with transaction():
        services_device_trust.trust_current(signed_in(), actor=request_actor())
    flash(_("This device is now trusted."), "ok")
    return redirect_to("iam_account.devices")


@bp.post("/devices/<device_id>/untrust")
@requires_login
def device_untrust(device_id: str) -> BaseResponse:
    """End the trust in one device."""
    with transaction():
        device = services_devices.get_device(current_user.user_id, parse_id(device_id))
        services_devices.withdraw_trust(device.user_id, device.id, actor=request_actor())
    flash(_("The device is no longer trusted."), "ok")
    return redirect_to("iam_account.devices")


@bp.post("/devices/untrust-all")
@requires_login
def devices_untrust_all() -> BaseResponse:
    """End the trust in every device."""
    with transaction():
        services_devices.withdraw_trust(current_user.user_id, actor=request_actor())
    flash(_("No device is trusted any more."), "ok")
    return redirect_to("iam_account.devices")


@bp.post("/devices/<device_id>/revoke")
@requires_step_up(SECURITY)
def device_revoke(device_id: str) -> BaseResponse:
    """Forget a device and end its sessions."""
    with transaction():
        device = services_devices.get_device(current_user.user_id, parse_id(device_id))
        services_devices.revoke_device(device, actor=request_actor())
        services_sessions.revoke_device(device.id, actor=request_actor())
    if device.id == current_user.device_id:
        drop_session()
        return redirect_to("iam_auth.signed_out")
    flash(_("The device is removed and signed out."), "ok")
    return redirect_to("iam_account.devices")


@bp.post("/devices/revoke-others")
@requires_step_up(SECURITY)
def devices_revoke_others() -> BaseResponse:
    """Forget every device but this one, and end every session but this one."""
    person, actor = signed_in(), request_actor()
    with transaction():
        count = services_devices.revoke_others(person.user_id, person.device_id, actor=actor)
        services_sessions.revoke_all(
            person.user_id, "device_revoked", except_id=person.session_id, actor=actor
        )
    flash(_("Devices removed and signed out: %(count)s.", count=count), "ok")
    return redirect_to("iam_account.devices")


def _device_view(row: Any, at: datetime) -> dict[str, Any]:
    trusted = services_device_trust.holds(row, at)
    named = row.name != services_devices.default_name(row.browser, row.os)
    what = {"browser": _(row.browser), "system": _(row.os)}
    return {
        "id": row.id,
        "name": row.name if named else _("%(browser)s on %(system)s", **what),
        "named": named,
        "browser": what["browser"],
        "os": what["system"],
        "type": row.kind,
        "first_seen_at": row.first_seen_at,
        "last_seen_at": row.last_seen_at,
        "ip": row.last_ip,
        "trusted": trusted,
        "trusted_until": row.trusted_until if trusted else None,
        "current": row.id == current_user.device_id,
    }
