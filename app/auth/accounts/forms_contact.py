"""Forms of a person's e-mail address and phone number."""

from __future__ import annotations

from wtforms import StringField
from wtforms.validators import InputRequired, Length

from ...core.i18n import lazy as _l
from ..forms import IAMForm


class EmailChangeForm(IAMForm):
    """The address a person wants."""

    email = StringField(
        _l("New e-mail address"), [InputRequired(_l("Enter an e-mail address.")), Length(max=254)]
    )


class PhoneChangeForm(IAMForm):
    """The number a person wants."""

    phone_number = StringField(
        _l("New phone number"), [InputRequired(_l("Enter a phone number.")), Length(max=40)]
    )
