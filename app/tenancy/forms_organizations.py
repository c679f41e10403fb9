"""Forms of organizations. Only what has a field here can be changed by a page."""

from __future__ import annotations

from wtforms import SelectField, StringField
from wtforms.validators import InputRequired, Length, Optional

from ..auth.forms import IAMForm, plain_name
from ..core.i18n import _
from ..core.i18n import lazy as _l
from .services_organizations import Branch

TYPE_LABELS = {
    "partner": _l("Partner"),
    "client": _l("Client"),
    "sponsor": _l("Sponsor"),
    "employer": _l("Employer"),
    "team": _l("Team"),
}
STAYS = "stays"


class OrganizationForm(IAMForm):
    """What an organization is called, what it is, and below which other one it lies."""

    name = StringField(
        _l("Name"), [InputRequired(_l("Enter a name.")), Length(max=120), plain_name]
    )
    type = SelectField(_l("Type"), [InputRequired()])
    parent_id = SelectField(_l("Lies below"), [Optional()])

    def offer_choices(self, places: list[Branch], *, top: bool, stays: bool) -> None:
        """Fill in what may be chosen: places, the top level, and where it is now unseen."""
        self.type.choices = list(TYPE_LABELS.items())
        self.parent_id.choices = [
            *([("", _("Nothing: the top level"))] if top else []),
            *([(STAYS, _("Where it is now"))] if stays else []),
            *((str(item.row.id), item.indented) for item in places),
        ]


class ConfirmForm(IAMForm):
    """Nothing but the button."""
