"""Forms of tenants: a new one, one's names, a reason."""

from __future__ import annotations

from wtforms import SelectField, StringField
from wtforms.validators import DataRequired, InputRequired, Length, Optional

from ...core.i18n import lazy as _l
from ...tenancy.services_tenants import TYPES_BELOW
from ..accounts.forms_admin import ReasonForm
from ..forms import IAMForm, plain_name

TYPE_LABELS = {
    "platform": _l("Platform"),
    "partner": _l("Partner"),
    "client": _l("Client"),
    "tenant": _l("Tenant"),
    "sponsor": _l("Sponsor"),
    "employer": _l("Employer"),
}
_HOST = [Optional(), Length(max=253)]

__all__ = ["TYPE_LABELS", "FirstAdminForm", "ReasonForm", "TenantEditForm", "TenantForm"]


class NameForm(IAMForm):
    """The name of a tenant."""

    name = StringField(_l("Name"), [DataRequired(_l("Enter a name.")), Length(max=120), plain_name])


class TenantEditForm(NameForm):
    """What may be changed about a tenant."""

    host = StringField(_l("Host name"), _HOST)


class FirstAdminForm(IAMForm):
    """Who is invited to administer a tenant in which nobody is yet."""

    admin_email = StringField(
        _l("E-mail"), [DataRequired(_l("Enter an e-mail address.")), Length(max=254)]
    )


class TenantForm(NameForm):
    """A new tenant below another."""

    slug = StringField(_l("Short name"), [DataRequired(_l("Enter a short name.")), Length(max=63)])
    type = SelectField(_l("Type"), [InputRequired()])
    admin_email = StringField(_l("E-mail"), [Optional(), Length(max=254)])

    def offer_types(self, parent_type: str) -> None:
        """Fill in the types that may lie below a tenant of another type."""
        self.type.choices = [(name, TYPE_LABELS[name]) for name in TYPES_BELOW[parent_type]]
