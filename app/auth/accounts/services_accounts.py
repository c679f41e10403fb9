"""Accounts: created and changed, by an administrator or by the person (B1, B3, B6).

Their look-up is in `services_directory`, the end of their life in
`services_account_status`; callers import all of it from here. No path in this module
shows or invents a password: a person sets theirs through a link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz import services_rbac
from ...authz.errors import OwnRights
from ...authz.grants import Grants
from ...core import clock, signals
from ...core.actor import Actor
from ...core.db import after_commit, session
from ...core.errors import InvalidInput
from ...core.i18n import _, speaking
from ...core.ids import new_id
from ...core.runtime import state
from ...notify import messages_sign_in as messages
from ..identity import canonical_email, canonical_username, check_username, mask_email, mask_phone
from ..liveness import ACTIVE, ERASED, INVITED
from ..models import IAMUserAccount
from ..passwords import services_links, services_reset
from ..recovery import services_recovery_rows
from . import services_notices
from .account_fields import PROFILE_FIELDS, clean_field, clean_fields
from .errors_accounts import AccountState, IdentityTaken
from .services_account_status import (
    delete_user,
    disable,
    reactivate,
    reset_factors,
    send_password_link,
    suspend,
)
from .services_directory import (
    count_by_status,
    count_factors,
    count_protected,
    count_undecided,
    default_scope,
    extras,
    find_by_login,
    get_user,
    grantable_scopes,
    list_factors,
    list_users,
)
from .services_reach import check_place_and_kind

ADMIN_FIELDS = (*PROFILE_FIELDS, "username", "email", "phone_number", "parent_id", "actor_type")
_RIGHTS_FIELDS = ("parent_id", "actor_type")
_CONTACT_FIELDS = ("email", "phone_number")
_MASKS: Mapping[str, Callable[[str], str]] = {
    "email": mask_email,
    "phone_number": mask_phone,
    "first_name": lambda _name: "…",
    "last_name": lambda _name: "…",
    "display_name": lambda _name: "…",
}


def create_user(  # noqa: PLR0913 - one keyword for each column that may be given
    *,
    username: str,
    email: str | None,
    phone_number: str | None = None,
    first_name: str = "",
    last_name: str = "",
    display_name: str = "",
    language: str | None = None,
    timezone: str | None = None,
    actor_type: str = "end_user",
    parent_id: UUID | None = None,
    roles: Iterable[str] = (),
    invite: bool = True,
    password_hash: str | None = None,
    email_verified: bool = False,
    status: str | None = None,
    actor_grants: Grants | None,
    actor: Actor,
) -> IAMUserAccount:
    """Create an account, `invited` until its owner sets a password through a link.

    `password_hash` is for seeds and imports, which make the account active at once;
    `status` for a way in that proves by itself whose account it is.
    Raises InvalidInput, IdentityTaken, Forbidden where a role is above the actor.
    """
    given = state().hooks.before_user_created(
        {
            "username": username, "email": email, "phone_number": phone_number,
            "first_name": first_name, "last_name": last_name, "display_name": display_name,
            "language": language, "timezone": timezone, "actor_type": actor_type,
            "parent_id": parent_id,
        }
    )  # fmt: skip
    name = given.pop("username")
    values = clean_fields(given)
    values["username"] = check_username(name, email=values["email"])
    if values["email"] is None and invite:
        raise InvalidInput(_("An e-mail address is needed to invite somebody"), field="email")
    check_place_and_kind(values, "user:create", actor_grants, actor)
    status = status or (ACTIVE if password_hash else INVITED)
    user = _insert(values, password_hash, email_verified, status)
    record(events.USER_CREATED, resource=user, actor=actor, actor_type=user.actor_type)
    for role in dict.fromkeys(roles):
        _assign(user, role, actor_grants, actor)
    if invite and password_hash is None:
        services_reset.send_set_password_link(user, actor=actor)
    user_id = str(user.id)
    after_commit(lambda: signals.user_created.send(user_id))
    return user


def update_user(
    user: IAMUserAccount, *, actor_grants: Grants | None, actor: Actor, **values: Any
) -> dict[str, Any]:
    """Change an account's data; return what changed, personal values masked.

    Takes the names in ADMIN_FIELDS only: status, verified flags, tenant and password
    are refused (AT-105, AT-365). Raises InvalidInput, IdentityTaken, Forbidden.
    """
    _refuse_others(values, ADMIN_FIELDS)
    services_rbac.guard_outranks(user.id, actor_grants=actor_grants, actor=actor)
    session().refresh(user, with_for_update=True)
    services_rbac.guard_reach("user:update", user.parent_id, actor_grants=actor_grants, actor=actor)
    if user.status == ERASED:
        raise AccountState
    wanted = clean_fields({key: value for key, value in values.items() if key != "username"})
    _settle_username(user, values, wanted)
    changed = {key: value for key, value in wanted.items() if getattr(user, key) != value}
    if not changed:
        return {}
    before = user.email
    _refuse_own_contact(user, changed, actor)
    _guard_rights_change(user, changed, actor_grants, actor)
    described = _apply(user, changed, events.USER_UPDATED, actor)
    if "email" in changed:
        _address_replaced(user, before, actor)
    return described


def update_profile(user: IAMUserAccount, *, actor: Actor, **values: Any) -> dict[str, Any]:
    """Change a person's own names, language and time zone; nothing else (B6, AT-105).

    Raises InvalidInput, also for a field that is not theirs to set.
    """
    _refuse_others(values, PROFILE_FIELDS)
    wanted = clean_fields(values)
    changed = {key: value for key, value in wanted.items() if getattr(user, key) != value}
    return _apply(user, changed, events.PROFILE_UPDATED, actor) if changed else {}


def store_proved(
    user: IAMUserAccount, event: events.Event, *, actor: Actor, **values: str | None
) -> None:
    """Store an e-mail address or phone number that its owner has proved (B6).

    The caller tells everybody. Raises InvalidInput, IdentityTaken, AccountState.
    """
    _refuse_others(values, _CONTACT_FIELDS)
    session().refresh(user, with_for_update=True)
    if user.status == ERASED:
        _record_refused(user, AccountState.code, "account_status", actor)
        raise AccountState
    wanted = clean_fields(values)
    _settle_username(user, {}, wanted)
    changed = {key: value for key, value in wanted.items() if getattr(user, key) != value}
    _apply(user, changed, event, actor)
    if "email" in values:
        user.email_verified = user.email is not None
    if "phone_number" in values:
        user.phone_verified = user.phone_number is not None


def _refuse_others(values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in values:
        if name not in allowed:
            raise InvalidInput(_("This cannot be changed here"), field=name)


def _insert(
    values: dict[str, Any], password_hash: str | None, email_verified: bool, status: str
) -> IAMUserAccount:
    at = clock.now()
    user = IAMUserAccount(
        id=new_id(),
        **values,
        username_canonical=canonical_username(values["username"]),
        email_canonical=_canonical_or_none(values["email"]),
        email_verified=email_verified and values["email"] is not None,
        phone_verified=False,
        status=status,
        password_hash=password_hash,
        password_changed_at=at if password_hash else None,
        authz_version=1,
        details={},
        created_at=at,
        updated_at=at,
    )
    _refuse_taken(user)
    session().add(user)
    _flush()
    return user


def _apply(
    user: IAMUserAccount, changed: dict[str, Any], event: events.Event, actor: Actor
) -> dict[str, Any]:
    before = {key: getattr(user, key) for key in changed}
    if changed.keys() & set(_RIGHTS_FIELDS):
        services_rbac.bump_user(user.id)
    for key, value in changed.items():
        setattr(user, key, value)
    user.updated_at = clock.now()
    if "username" in changed:
        user.username_canonical = canonical_username(user.username)
    if "email" in changed:
        user.email_verified = False
        user.email_canonical = _canonical_or_none(user.email)
    if "phone_number" in changed:
        user.phone_verified = False
    with session().no_autoflush:
        _refuse_taken(user)
    _flush()
    if changed.keys() & set(_CONTACT_FIELDS):  # where proofs and objections went (AT-213)
        services_recovery_rows.cancel_open(user, "address changed", actor=actor)
    described = {key: [_shown(key, before[key]), _shown(key, changed[key])] for key in changed}
    record(event, resource=user, changes=described, actor=actor)
    user_id, names = str(user.id), sorted(changed)
    after_commit(lambda: signals.user_changed.send(user_id, fields=names))
    return described


def _refuse_own_contact(user: IAMUserAccount, changed: Mapping[str, Any], actor: Actor) -> None:
    # One's own address changes with proof of the new one, on the account page (AT-103, AT-105).
    for field in _CONTACT_FIELDS:
        if field in changed and actor.user_id == user.id:
            raise InvalidInput(
                _("Change your own under “Account”, where it is checked"), field=field
            )


def _address_replaced(user: IAMUserAccount, old: str | None, actor: Actor) -> None:
    # A link sent to a former address must not work for whoever reads mail there now; that
    # an administrator set the address settles the objections to earlier changes, too.
    services_links.drop(user)
    services_links.drop(user, services_links.EMAIL_UNDO)
    at, brand = clock.now(), services_notices.brand()
    told = []
    with speaking(user.language):
        if old:
            told.append(messages.email_change_old(old, brand=brand, at=at))
        if user.email:
            told.append(messages.email_change_new(user.email, brand=brand, at=at))
    for message in told:
        services_notices.send(user, message, actor=actor)


def _shown(field: str, value: Any) -> Any:
    # The trail outlives the account: it tells which personal value changed, not to what.
    mask = _MASKS.get(field)
    return mask(value) if mask and value else value


def _settle_username(
    user: IAMUserAccount, values: Mapping[str, Any], wanted: dict[str, Any]
) -> None:
    email = wanted.get("email", user.email)
    if "username" in values:
        wanted["username"] = check_username(clean_field("username", values), email=email)
    elif "@" in user.username and email and "email" in wanted:
        # A username that is the address follows it: it may equal the own address only.
        wanted["username"] = check_username(email, email=email)


def _record_refused(user: IAMUserAccount, code: str, reason: str, actor: Actor) -> None:
    record(
        events.ACCOUNT_CHANGE_REFUSED,
        resource=user,
        status=DENIED,
        error=code,
        actor=actor,
        reason=reason,
    )


def _guard_rights_change(
    user: IAMUserAccount, changed: dict[str, Any], actor_grants: Grants | None, actor: Actor
) -> None:
    fields = {key: value for key, value in changed.items() if key in _RIGHTS_FIELDS}
    if not fields:
        return
    if actor.user_id == user.id:
        _record_refused(user, OwnRights.code, "own_rights", actor)
        raise OwnRights
    check_place_and_kind(fields, "user:update", actor_grants, actor)
    if "parent_id" in fields:  # rights by organization go along, and may grow on the way (AT-393)
        services_rbac.guard_outranks(
            user.id, moved_to=fields["parent_id"], actor_grants=actor_grants, actor=actor
        )


def _assign(user: IAMUserAccount, name: str, actor_grants: Grants | None, actor: Actor) -> None:
    role = services_rbac.find_role(name)
    if role is None:
        raise InvalidInput(_("Choose roles from the list"), field="roles")
    scope = default_scope(role.name)
    if actor_grants is not None:  # who reaches organizations only gives it there
        offered = dict(grantable_scopes(actor_grants, user.parent_id))
        scope = next((item for item in offered.get(role, [])), scope)
    services_rbac.assign_role(user, role, scope=scope, actor_grants=actor_grants, actor=actor)


def _refuse_taken(user: IAMUserAccount) -> None:
    same = IAMUserAccount.username_canonical == user.username_canonical
    if user.email_canonical is not None:  # any number of accounts may have none
        same |= IAMUserAccount.email_canonical == user.email_canonical
    found = session().execute(
        select(IAMUserAccount.username_canonical).where(same, IAMUserAccount.id != user.id).limit(2)
    )
    names = [row.username_canonical for row in found]
    if user.username_canonical in names:
        raise _taken("username")
    if names:
        raise _taken("email")


def _flush() -> None:
    # Two requests may pass the look above at once: the unique keys decide.
    try:
        session().flush()
    except IntegrityError as error:
        for field in ("username", "email"):
            if f"{field}_canonical" in str(error.orig):
                raise _taken(field) from None
        raise


def _taken(field: str) -> IdentityTaken:
    if field == "username":
        return IdentityTaken(_("Another account already has this username"), field=field)
    return IdentityTaken(_("Another account already has this e-mail address"), field=field)


def _canonical_or_none(email: str | None) -> str | None:
    return canonical_email(email) if email else None


__all__ = [
    "ADMIN_FIELDS",
    "PROFILE_FIELDS",
    "count_by_status",
    "count_factors",
    "count_protected",
    "count_undecided",
    "create_user",
    "delete_user",
    "disable",
    "extras",
    "find_by_login",
    "get_user",
    "list_factors",
    "list_users",
    "reactivate",
    "reset_factors",
    "send_password_link",
    "store_proved",
    "suspend",
    "update_profile",
    "update_user",
]
