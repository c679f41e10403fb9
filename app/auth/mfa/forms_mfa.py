"""Forms of second factors: a code, a choice, a destination, a name."""

from __future__ import annotations

from wtforms import BooleanField, HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length, Optional

from ...core.i18n import lazy as _l
from ..forms import MAX_PASSWORD, IAMForm, plain_name

_CODE = [InputRequired(_l("Enter the code.")), Length(max=64)]
_NAME = Length(max=80, message=_l("Use at most 80 characters."))


class VerifyForm(IAMForm):
    """A code of the second step; `purpose` and `next` belong to a step-up.

    `remember_device` belongs to a sign-in; its label, with the days, is set where it is offered.
    """

    code = StringField(_l("Code"), _CODE)
    remember_device = BooleanField(
        description=_l(
            "Only on a device that nobody else uses. Your password alone is then enough here."
        )
    )
    purpose = HiddenField()
    next = HiddenField()


class StepUpPasswordForm(IAMForm):
    """The password once more."""

    password = PasswordField(
        _l("Password"), [InputRequired(_l("Enter your password.")), Length(max=MAX_PASSWORD)]
    )
    purpose = HiddenField()
    next = HiddenField()


class TotpForm(IAMForm):
    """The first code of an authenticator app, and a name for it."""

    code = StringField(_l("Code"), _CODE)
    name = StringField(_l("Name"), [Optional(), _NAME, plain_name])


class DestinationForm(IAMForm):
    """Where codes shall go."""

    destination = StringField(
        _l("Address or number"), [InputRequired(_l("Fill in this field.")), Length(max=254)]
    )


class EmailDestinationForm(DestinationForm):
    """The mail address codes shall go to."""

    destination = StringField(
        _l("E-mail address"), [InputRequired(_l("Enter an e-mail address.")), Length(max=254)]
    )


class PhoneDestinationForm(DestinationForm):
    """The phone number codes shall go to."""

    destination = StringField(
        _l("Phone number"), [InputRequired(_l("Enter a phone number.")), Length(max=40)]
    )


class CodeForm(IAMForm):
    """The code that proves a destination."""

    code = StringField(_l("Code"), _CODE)


class FactorNameForm(IAMForm):
    """A name for a factor."""

    name = StringField(_l("Name"), [InputRequired(_l("Enter a name.")), _NAME, plain_name])


class PasskeyForm(IAMForm):
    """A name for a passkey; the rest comes from the browser."""

    name = StringField(_l("Name"), [Optional(), _NAME, plain_name])


class RecoverySavedForm(IAMForm):
    """The promise that the codes are saved; `sealed` brings the codes back if it is missing."""

    confirm = BooleanField(
        _l("I have saved these codes"), [InputRequired(_l("Please save the codes first."))]
    )
    sealed = HiddenField()
    next = HiddenField()
