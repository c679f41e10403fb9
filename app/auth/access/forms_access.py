"""Form of entering another tenant."""

from __future__ import annotations

from wtforms import SelectField, TextAreaField
from wtforms.validators import InputRequired, Length

from ...core.i18n import lazy as _l
from ..forms import IAMForm
from .services_access_contexts import LONGEST_REASON, SHORTEST_REASON

MINUTES = (
    ("5", _l("5 minutes")),
    ("15", _l("15 minutes")),
    ("30", _l("30 minutes")),
    ("60", _l("60 minutes")),
)


class AccessForm(IAMForm):
    """Why, and for how long."""

    reason = TextAreaField(
        _l("Reason"),
        [
            InputRequired(_l("Please say why.")),
            Length(
                SHORTEST_REASON,
                LONGEST_REASON,
                _l("Say why in a sentence of 10 to 200 characters."),
            ),
        ],
    )
    minutes = SelectField(_l("For how long"), choices=[], default="15")

    def offer_choices(self) -> None:
        """Fill in what may be chosen."""
        self.minutes.choices = list(MINUTES)
