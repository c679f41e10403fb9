"""Forms of account administration. Only what has a field here can be changed by a page."""

from __future__ import annotations

from zoneinfo import available_timezones

from wtforms import DateField, SelectField, SelectMultipleField, StringField, ValidationError
from wtforms.validators import InputRequired, Length, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from ...authz.grants import Grants
from ...core.errors import IAMError
from ...core.i18n import LANGUAGES, _
from ...core.i18n import lazy as _l
from ..forms import IAMForm
from ..settings import ACTOR_TYPES
from . import services_directory
from .services_reach import may_make, reach_of

_LAST_YEAR = 2999

ACTOR_TYPE_LABELS = {
    "end_user": _l("Person"),
    "tenant_admin": _l("Administrator"),
    "client_admin": _l("Administrator of a client"),
    "partner_admin": _l("Administrator of a partner"),
    "super_admin": _l("Platform administrator"),
}


class UserEditForm(IAMForm):
    """What an administrator may change about an account."""

    username = StringField(
        _l("Username"), [InputRequired(_l("Enter a username.")), Length(max=150)]
    )
    email = StringField(_l("E-mail"), [Optional(), Length(max=254)])
    phone_number = StringField(_l("Phone"), [Optional(), Length(max=40)])
    first_name = StringField(_l("First name"), [Optional(), Length(max=80)])
    last_name = StringField(_l("Last name"), [Optional(), Length(max=80)])
    display_name = StringField(_l("Display name"), [Optional(), Length(max=120)])
    language = SelectField(_l("Language"), [Optional()])
    timezone = SelectField(_l("Time zone"), [Optional()])
    parent_id = SelectField(_l("Organization"), [Optional()])
    actor_type = SelectField(_l("Kind of account"), [InputRequired()])

    def offer_choices(self, permission: str, grants: Grants) -> None:
        """Fill in what a person with `grants` may choose under `permission`."""
        reach = reach_of(grants, permission)
        self.language.choices = [("", _("Same as the browser")), *LANGUAGES.items()]
        self.timezone.choices = [
            ("", "UTC"),
            *((name, name) for name in sorted(available_timezones())),
        ]
        none = [("", _("None"))] if reach.has(None) else []
        places = services_directory.list_organizations(reach)
        self.parent_id.choices = [*none, *((str(row.id), row.name) for row in places)]
        self.actor_type.choices = [
            (name, ACTOR_TYPE_LABELS.get(name, name))
            for name in ACTOR_TYPES
            if may_make(name, grants, permission)
        ]


class UserCreateForm(UserEditForm):
    """A new account; its owner sets the password through a link."""

    email = StringField(
        _l("E-mail"), [InputRequired(_l("Enter an e-mail address.")), Length(max=254)]
    )
    roles = SelectMultipleField(
        _l("Roles"),
        [Optional()],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )


class ReasonForm(IAMForm):
    """Why an administrator does something to somebody's account."""

    reason = StringField(_l("Reason"), [InputRequired(_l("Please say why.")), Length(max=200)])


class RoleForm(IAMForm):
    """A role to give: over what, and until when."""

    role = SelectField(_l("Role"), [InputRequired(_l("Choose a role."))])
    scope = SelectField(_l("Over"), [Optional()])
    organization_id = SelectField(_l("Organization"), [Optional()])
    expires_at = DateField(_l("Last day"), [Optional()])

    def validate_expires_at(self, field: DateField) -> None:
        """Refuse a day that no calendar of ours reaches. Raises ValidationError."""
        if field.data and field.data.year > _LAST_YEAR:
            raise ValidationError(_("Choose an earlier day, or none."))


def show(form: IAMForm, refusal: IAMError) -> None:
    """Put a refusal beside the field it names, or above the form."""
    text = _(str(refusal.title))
    for field in form:
        if field.short_name == refusal.field:
            field.errors = [text]
            return
    form.form_errors.append(text)
