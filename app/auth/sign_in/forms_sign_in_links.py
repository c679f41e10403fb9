"""Forms of signing in by a link or code."""

from __future__ import annotations

from wtforms import BooleanField, HiddenField, StringField
from wtforms.validators import InputRequired, Length

from ...core.i18n import lazy as _l
from ..forms import IAMForm


class SignInLinkForm(IAMForm):
    """Who wants a link or code, and by which channel."""

    username = StringField(
        _l("Username or e-mail"),
        [InputRequired(_l("Enter your username or e-mail address.")), Length(max=254)],
    )
    remember_me = BooleanField(_l("Keep me signed in"))
    channel = HiddenField()
    next = HiddenField()


class SignInCodeForm(IAMForm):
    """The code that was sent; the name it was asked for comes along."""

    code = StringField(_l("Code"), [InputRequired(_l("Enter the code.")), Length(max=64)])
    username = HiddenField(validators=[InputRequired(), Length(max=254)])
    channel = HiddenField()
