"""What a provider says of a person, in one shape for all of them (OpenID Connect Core 5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A person as a provider describes them, after every check of the protocol.

    `issuer` and `subject` name them for ever; everything else may change or be given to
    somebody else (AT-192, AT-196). `email_verified` is True only where the provider says so
    and is entitled to. `claims` is all that was said, for mapping rules.
    """

    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False
    username: str | None = None
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    picture: str | None = None
    locale: str | None = None
    phone_number: str | None = None
    organization: str | None = None
    amr: tuple[str, ...] = ()
    acr: str | None = None
    auth_time: datetime | None = None
    sid: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
