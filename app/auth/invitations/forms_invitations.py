"""Forms of invitations. What an invitation decides (address, roles) is no field of the answer."""

from __future__ import annotations

from wtforms import PasswordField, SelectField, SelectMultipleField, StringField
from wtforms.validators import EqualTo, InputRequired, Length, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from ...core.i18n import LANGUAGES, _
from ...core.i18n import lazy as _l
from ..forms import MAX_PASSWORD, IAMForm, plain_name


class InviteForm(IAMForm):
    """Whom to invite, and what they will be."""

    email = StringField(
        _l("E-mail"), [InputRequired(_l("Enter an e-mail address.")), Length(max=254)]
    )
    name = StringField(_l("Name"), [Optional(), Length(max=120), plain_name])
    language = SelectField(_l("Language"), [Optional()])
    parent_id = SelectField(_l("Organization"), [Optional()])
    roles = SelectMultipleField(
        _l("Roles"),
        [Optional()],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )

    def offer_languages(self) -> None:
        """Fill in the languages of the mail."""
        self.language.choices = [("", _("Same as this page")), *LANGUAGES.items()]


class AcceptForm(IAMForm):
    """What somebody who was invited tells about themselves."""

    display_name = StringField(_l("Your name"), [Optional(), Length(max=120), plain_name])
    username = StringField(
        _l("Username"), [InputRequired(_l("Enter a username.")), Length(max=150)]
    )
    password = PasswordField(_l("Password"), [Optional(), Length(max=MAX_PASSWORD)])
    password_confirm = PasswordField(
        _l("Repeat the password"), [EqualTo("password", _l("The two passwords differ."))]
    )
