"""Forms of account recovery: a code over a channel, and an administrator's decision."""

from __future__ import annotations

from wtforms import HiddenField, StringField
from wtforms.validators import AnyOf, InputRequired, Length

from ...core.i18n import lazy as _l
from ..accounts.forms_admin import ReasonForm
from ..forms import IAMForm

APPROVE, REFUSE = "approve", "refuse"


class ProofForm(IAMForm):
    """The code that was sent over a channel."""

    code = StringField(_l("Code"), [InputRequired(_l("Enter the code.")), Length(max=64)])
    channel = HiddenField()


class DecisionForm(ReasonForm):
    """What an administrator decides about a request, and why."""

    decision = StringField(
        _l("Decision"), [AnyOf((APPROVE, REFUSE), _l("Approve or refuse the request."))]
    )
