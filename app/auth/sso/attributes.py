"""What a provider says of a person, kept in the account: names, language, phone, organization.

Standard claims fill what is empty; a field that the connection names itself (`attributes`:
field to claim) follows its claim at every sign-in. Never an address, a username, a status
or a verified flag; a value that no form would take is left out (G3, G4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select

from ...authz import services_rbac
from ...core.actor import Actor
from ...core.db import session
from ...core.errors import InvalidInput
from ...core.i18n import _, known_language
from ...tenancy.models import IAMOrganization
from ..accounts import services_accounts
from ..accounts.account_fields import PROFILE_FIELDS, clean_field
from ..liveness import ACTIVE
from ..models import IAMUserAccount
from .connection import Connection
from .userinfo import UserInfo

LONGEST_PATH = 120
ORGANIZATION, PHONE, LANGUAGE = "organization", "phone_number", "language"
ATTRIBUTES = (*PROFILE_FIELDS, PHONE, ORGANIZATION)
"""What a connection's `attributes` may name."""


def apply(user: IAMUserAccount, info: UserInfo, connection: Connection, *, actor: Actor) -> None:
    """Bring an account in step with what its provider says; joins the transaction.

    Recorded as a change of the account where anything changed.
    """
    wanted = personal_values(info, connection)
    kept: dict[str, Any] = {
        name: value
        for name, value in wanted.items()
        if name in connection.attributes or not getattr(user, name)
    }
    if user.phone_verified:
        kept.pop(PHONE, None)  # what its owner proved outweighs what somebody says
    if ORGANIZATION in connection.attributes and _may_move(user):
        kept |= _parent(info, connection)
    changed = {name: value for name, value in kept.items() if getattr(user, name) != value}
    if changed:
        acting = actor.acting_as(
            kind="system", user_id=None, session_id=None, label=f"sso:{connection.slug}"
        )
        services_accounts.update_user(user, actor_grants=None, actor=acting, **changed)


def personal_values(info: UserInfo, connection: Connection) -> dict[str, Any]:
    """Return the values of personal fields that a form would take, as they are stored."""
    said: dict[str, str | None] = {
        "first_name": info.given_name,
        "last_name": info.family_name,
        "display_name": info.name,
        LANGUAGE: info.locale,
        PHONE: info.phone_number,
    }
    for name in connection.attributes:
        if name in ATTRIBUTES and name != ORGANIZATION:
            said[name] = _claim(info, connection, name)
    cleaned = {name: _clean(name, value) for name, value in said.items() if value}
    return {name: value for name, value in cleaned.items() if value}


def check_path(text: str) -> str:
    """Return a claim's path as it is stored. Raises InvalidInput naming `claim`."""
    path = text.strip()
    if not path or len(path) > LONGEST_PATH or not path.isprintable() or " " in path:
        raise InvalidInput(_("Enter the name of a claim, like groups"), field="claim")
    return path


def values_at(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Return the texts at a path: of a list each, of a single value one, else none.

    A dot leads into an object, unless a claim's own name has it. Numbers and truth values
    count as JSON writes them; objects and lists in a list do not count.
    """
    found = _at(claims, path)
    items = found if isinstance(found, list | tuple) else [found]
    return tuple(text for text in map(_text, items) if text is not None)


def _claim(info: UserInfo, connection: Connection, name: str) -> str | None:
    return next(iter(values_at(info.claims, connection.attributes[name])), None)


def _clean(name: str, value: str) -> Any:
    if name == LANGUAGE:
        return known_language(value)
    try:
        return clean_field(name, {name: value})
    except InvalidInput:
        return None


def _may_move(user: IAMUserAccount) -> bool:
    # Rights by organization would move along: nobody's word but an administrator's does
    # that to somebody with rights, nor before the address is proved (AT-215).
    return user.status == ACTIVE and not services_rbac.is_privileged(user)


def _parent(info: UserInfo, connection: Connection) -> dict[str, UUID]:
    name = _claim(info, connection, ORGANIZATION)
    found = session().scalars(
        select(IAMOrganization.id)
        .where(IAMOrganization.name == name, IAMOrganization.status == ACTIVE)
        .limit(2)
    )
    ids = list(found)
    return {"parent_id": ids[0]} if len(ids) == 1 else {}


def _at(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:
        return claims[path]
    for place, char in enumerate(path):
        inner = claims.get(path[:place]) if char == "." else None
        if isinstance(inner, Mapping):
            found = _at(inner, path[place + 1 :])
            if found is not None:
                return found
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value if isinstance(value, str) else None
