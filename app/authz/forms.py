"""Form of a role. Only what has a field here can be changed by a page (AT-365)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wtforms import SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional, Regexp

from ..auth.forms import IAMForm, plain_name
from ..core.errors import InvalidInput
from ..core.i18n import _
from ..core.i18n import lazy as _l
from .grants import Grants, Right
from .models import IAMPermission, IAMRole

SCOPE_LABELS = {
    "own": _l("Their own"),
    "team": _l("Their team"),
    "organization": _l("Their organization and below"),
    "tenant": _l("The whole tenant"),
    "global": _l("The platform"),
}
POLICY_LABELS = {
    "": _l("As the roles it inherits from"),
    "off": _l("Not asked for"),
    "optional": _l("Optional"),
    "required": _l("Required"),
}
FIELD = "permission-"


def _on_one_line(text: Any) -> Any:
    return " ".join(text.splitlines()) if isinstance(text, str) else text


class RoleEditForm(IAMForm):
    """A role's name, description, parent and MFA policy; its permissions are read beside it."""

    name = StringField(
        _l("Name"),
        [
            InputRequired(_l("Enter a name.")),
            Length(max=64),
            Regexp(
                r"[a-z][a-z0-9_]{1,62}[a-z0-9]\Z",
                message=_l("3 to 64 small letters, digits and underscores, a letter first."),
            ),
        ],
    )
    description = TextAreaField(
        _l("Description"), [Optional(), Length(max=255), plain_name], filters=[_on_one_line]
    )
    parent_id = SelectField(_l("Inherits from"), [Optional()])
    mfa_policy = SelectField(_l("Second factor"), [Optional()])

    def offer_choices(self, roles: Iterable[IAMRole]) -> None:
        """Fill in what may be chosen."""
        self.parent_id.choices = [("", _("No other role")), *((str(r.id), r.name) for r in roles)]
        self.mfa_policy.choices = list(POLICY_LABELS.items())


def scopes_offered(permission: str, grants: Grants) -> list[str]:
    """Return the scopes in which a person may put a permission into a role."""
    return [scope for scope in SCOPE_LABELS if grants.covers(Right(permission, scope))]


def read_permissions(
    permissions: Iterable[IAMPermission], typed: Mapping[str, Any]
) -> dict[str, str]:
    """Return name and scope of every permission chosen. Raises InvalidInput for a wrong scope."""
    chosen = {item.name: str(typed.get(FIELD + item.name, "")) for item in permissions}
    found = {name: scope for name, scope in chosen.items() if scope}
    if not set(found.values()) <= set(SCOPE_LABELS):
        raise InvalidInput(_("There is no such scope."), field="permissions")
    return found
