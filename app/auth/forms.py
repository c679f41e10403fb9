"""Forms of sign-in and of a person's own pages. CSRF is checked before a form is read."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from babel.support import NullTranslations, Translations
from flask_babel import get_locale
from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, PasswordField, SelectField, StringField
from wtforms.i18n import messages_path
from wtforms.validators import EqualTo, InputRequired, Length, Optional, ValidationError

from ..core.errors import InvalidInput
from ..core.i18n import _
from ..core.i18n import lazy as _l
from .identity import check_display_name

MAX_PASSWORD = 1024


class IAMForm(FlaskForm):
    """Base of every form: no second CSRF check, text trimmed, passwords left as typed."""

    class Meta(FlaskForm.Meta):
        """CSRF belongs to the blueprint, which checks every unsafe request (`csrf.protect`)."""

        csrf = False

        def get_translations(self, _form: Any) -> Any:
            """Return WTForms' own texts; Flask-WTF would read their file for every form."""
            return _wtforms_texts(str(get_locale() or "en"))

        def bind_field(self, form: Any, unbound_field: Any, options: dict[str, Any]) -> Any:
            """Trim text fields as they are read."""
            field = unbound_field.bind(form=form, **options)
            if isinstance(field, StringField) and not isinstance(field, PasswordField):
                field.filters = [*field.filters, _trim]
            return field


@lru_cache(maxsize=32)
def _wtforms_texts(language: str) -> NullTranslations:
    return Translations.load(messages_path(), [language], domain="wtforms")


def text(field: Any) -> str:
    """Return what was entered in a field that validation made sure of."""
    return field.data or ""


def plain_name(_form: Any, field: Any) -> None:
    """Validate a name others may read: no address, no control or invisible character.

    What is invisible is dropped. Raises ValidationError with the reason.
    """
    longest = next(rule.max for rule in field.validators if isinstance(rule, Length))
    try:
        field.data = check_display_name(field.data or "", field=field.name, longest=longest)
    except InvalidInput as refusal:
        raise ValidationError(_(str(refusal.title))) from None
    if not field.data and field.flags.required:
        raise ValidationError(_("Enter a name."))


def _trim(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


class LoginForm(IAMForm):
    """Username or e-mail address, and the password."""

    username = StringField(
        _l("Username or e-mail"),
        [InputRequired(_l("Enter your username or e-mail address.")), Length(max=254)],
    )
    password = PasswordField(
        _l("Password"),
        [InputRequired(_l("Enter your password.")), Length(max=MAX_PASSWORD)],
    )
    remember_me = BooleanField(_l("Keep me signed in"))
    next = HiddenField()


class DiscoverForm(IAMForm):
    """Whose organization signs them in: the domain of an e-mail address says so."""

    email = StringField(
        _l("Work e-mail"), [InputRequired(_l("Enter your e-mail address.")), Length(max=254)]
    )
    next = HiddenField(id="discover-next")  # the sign-in form is on the same page


class ForgotForm(IAMForm):
    """Whose password is forgotten."""

    username = StringField(
        _l("Username or e-mail"),
        [InputRequired(_l("Enter your username or e-mail address.")), Length(max=254)],
    )


class NewPasswordForm(IAMForm):
    """A new password, twice."""

    password = PasswordField(
        _l("New password"), [InputRequired(_l("Enter a password.")), Length(max=MAX_PASSWORD)]
    )
    password_confirm = PasswordField(
        _l("Repeat the password"),
        [
            InputRequired(_l("Repeat the password.")),
            EqualTo("password", _l("The two passwords differ.")),
        ],
    )


class ChangePasswordForm(NewPasswordForm):
    """The current password and a new one."""

    current = PasswordField(
        _l("Current password"),
        [InputRequired(_l("Enter your current password.")), Length(max=MAX_PASSWORD)],
    )


class ProfileForm(IAMForm):
    """What people may change about themselves without further proof."""

    display_name = StringField(_l("Display name"), [Optional(), Length(max=120)])
    first_name = StringField(_l("First name"), [Optional(), Length(max=80)])
    last_name = StringField(_l("Last name"), [Optional(), Length(max=80)])
    language = SelectField(_l("Language"), [Optional()], choices=[])
    timezone = SelectField(_l("Time zone"), [Optional()], choices=[])


class DeviceNameForm(IAMForm):
    """A name for a device."""

    name = StringField(_l("Name"), [InputRequired(_l("Enter a name.")), Length(max=80), plain_name])
