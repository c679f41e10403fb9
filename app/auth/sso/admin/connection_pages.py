"""What the pages of connections show: words for what is stored, and what the reader may do."""

from __future__ import annotations

from typing import Any

from flask import Response

from ....authz import services_rbac
from ....authz.models import IAMRole
from ....core.errors import InvalidInput
from ....core.i18n import _
from ....core.i18n import lazy as _l
from ....core.ids import parse_id
from ....tenancy import services_domains
from ...accounts.services_directory import grantable_roles
from ...forms import IAMForm
from ...models import IAMSsoConnection
from ...providers import providers
from ...security import can
from ...web.current import current_user
from ...web.links import public_url
from ...web.pages import render
from ..connection import DOMAINS, INVITED, OFF, OPEN, Connection
from ..services_connections import as_value
from ..services_role_rules import rules_of
from .forms_connections import ATTRIBUTE_LABELS, ENDPOINT_LABELS, RuleForm
from .services_connection_admin import Use, uses

JIT_SHORT = {
    OFF: _l("Linked accounts only"),
    INVITED: _l("Invited people"),
    DOMAINS: _l("Verified domains"),
    OPEN: _l("Everybody"),
}
KIND_NOTES = {
    "oidc": _l("Keycloak, Okta, Auth0 and every other provider with a discovery document."),
    "azure": _l("Microsoft work and school accounts of the tenants that you list."),
    "google": _l("Google accounts, or those of your Workspace domains only."),
    "github": _l("GitHub accounts, by their verified main address."),
    "facebook": _l("Facebook accounts."),
    "apple": _l("Apple accounts. Needs a key of your developer account."),
}


def row_view(row: IAMSsoConnection, use: Use) -> dict[str, Any]:
    """Return what the list shows of a connection."""
    names = ("id", "name", "slug", "provider", "enabled", "is_default", "from_settings")
    return {name: getattr(row, name) for name in names} | {
        "usable": as_value(row) is not None,
        "jit_label": JIT_SHORT.get(row.jit, row.jit),
        "people": use.people,
        "last_login_at": use.last_login_at,
    }


def connection_page(
    row: IAMSsoConnection, form: RuleForm | None = None, code: int = 200, problem: str = ""
) -> Response:
    """Answer with the page of one connection."""
    return render(
        "iam/admin_connection.html",
        code,
        connection=_details(row),
        addresses=addresses_of(row),
        rules=rules_of(row.id),
        rule_form=form or rule_form(),
        acts=_acts(row),
        problem=problem,
        form=IAMForm(),
    )


def addresses_of(row: IAMSsoConnection) -> dict[str, str | None]:
    """Return what is to be entered at the provider."""
    logout = "iam_auth.sso_backchannel_logout"
    return {
        "redirect_uri": public_url("iam_auth.sso_callback", provider=row.slug),
        "logout_uri": public_url(logout, provider=row.slug) if _is_openid(row) else None,
        "signed_out_uri": public_url("iam_auth.signed_out") if row.provider_logout else None,
    }


def rule_form() -> RuleForm:
    """Return the form of a new rule, with the roles that its author could give."""
    form = RuleForm()
    offered = grantable_roles(current_user.grants) if _may_map() else []
    form.role.choices = [("", _("Choose a role")), *((str(r.id), r.name) for r in offered)]
    return form


def role_named(text: str | None) -> IAMRole:
    """Return the role that a form names. Raises InvalidInput, NotFound."""
    chosen = parse_id(text)
    if chosen is None:
        raise InvalidInput(_("Choose a role."), field="role")
    return services_rbac.get_role(chosen)


def _details(row: IAMSsoConnection) -> dict[str, Any]:
    # A copy without the secret, so that no slip of a template can show it (AT-387).
    names = (
        "id", "slug", "provider", "enabled", "is_default", "from_settings", "trusts_mfa",
        "end_sessions", "provider_logout", "secret_changed_at", "created_at",
    )  # fmt: skip
    value, use = as_value(row), uses().get(row.id, Use())
    return {name: getattr(row, name) for name in names} | {
        "name": row.name,
        "usable": value is not None,
        "allow_private": value is not None and value.allow_private,
        "provider_name": _title(row.provider),
        "jit_label": JIT_SHORT.get(row.jit, row.jit),
        "attributes": _labelled(ATTRIBUTE_LABELS, row.attributes),
        "domains": [
            item.name for item in services_domains.list_domains() if item.connection_id == row.id
        ],
        "people": use.people,
        "last_login_at": use.last_login_at,
        **_protocol(row, value),
    }


def _protocol(row: IAMSsoConnection, value: Connection | None) -> dict[str, Any]:
    if value is None:
        return {"client_id": row.client_id, "endpoints": [], "options": [], "scopes": ""}
    form = providers().get(row.provider).form
    labels = {option.name: _(option.label) for option in form.options}
    return {
        "client_id": value.client_id,
        "discovery_url": value.discovery_url or form.discovery_url,
        "endpoints": _labelled(ENDPOINT_LABELS, value.endpoints),
        "options": [(labels[name], text) for name, text in value.options.items() if name in labels],
        "scopes": " ".join(value.scopes or form.scopes),
    }


def _labelled(labels: Any, values: Any) -> list[tuple[Any, str]]:
    return [(labels.get(name, name), text) for name, text in values.items() if text]


def _acts(row: IAMSsoConnection) -> set[str]:
    # What the page offers; what is allowed is decided again where it is done.
    changes = can("connection:update")
    offered = {
        "edit": changes and row.provider in providers(),
        "test": changes and as_value(row) is not None,
        "enable": changes and not row.enabled,
        "disable": changes and row.enabled,
        "default": changes and row.enabled and not row.is_default,
        "rotate": changes and not row.from_settings,
        "delete": can("connection:delete") and not row.from_settings,
        "map": _may_map(),
    }
    return {name for name, yes in offered.items() if yes}


def _may_map() -> bool:
    return can("connection:map") and can("role:assign")


def _title(provider: str) -> str:
    return _(providers().get(provider).form.title) if provider in providers() else provider


def _is_openid(row: IAMSsoConnection) -> bool:
    known = row.provider in providers()
    return known and "openid" in providers().get(row.provider).form.scopes
