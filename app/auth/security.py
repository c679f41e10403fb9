"""Decorators that protect views: roles, permissions, tenant, parent, factors, step-up (L1, F1).

They stack in any order on functions and class-based views, and guard a whole
blueprint through `guard(blueprint, …)`. A refusal is raised as a typed error;
one handler answers with a page or redirect for people, problem+json for programs.
Importable from the package root.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast
from uuid import UUID

from flask import Blueprint, Flask, request

from ..core import clock, ids
from ..core.errors import Forbidden, NotAuthenticated, NotFound, StepUpRequired
from ..core.scoping import tenant_scope
from ..tenancy.services_settings import effective
from .mfa import services_factors
from .principal import Principal
from .purposes import Purpose, purpose_named
from .settings import AuthSettings
from .web.current import any_session, current_principal, pending_login

V = TypeVar("V")
Check = Callable[[], None]
POLICY = "__iam_policy__"


def _protect(view: V, name: str, check: Check) -> V:
    """Wrap a view function, or every request of a class-based view, in `check`."""
    if isinstance(view, type):
        view.decorators = [*getattr(view, "decorators", []), _decorator(name, check)]  # type: ignore[attr-defined]
        return view
    return cast(V, _decorator(name, check)(cast(Callable[..., Any], view)))


def _decorator(name: str, check: Check) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            check()
            return view(*args, **kwargs)

        setattr(guarded, POLICY, (*getattr(view, POLICY, ()), name))
        return guarded

    return decorate


def public(reason: str) -> Callable[[V], V]:
    """Declare that a view is open to everybody, and why."""
    return lambda view: _protect(view, f"public: {reason}", lambda: None)


def requires_pending(*stages: str) -> Callable[[V], V]:
    """Admit only a sign-in that still needs one of `stages` (`mfa`, `enrol`)."""
    return lambda view: _protect(view, f"pending: {', '.join(stages)}", lambda: _pending(stages))


def requires_login(view: V) -> V:
    """Admit signed-in people. Raises NotAuthenticated for others."""
    return _protect(view, "login", lambda: _ignore(signed_in()))


def requires_role(*names: str) -> Callable[[V], V]:
    """Admit people who hold one of the roles. Raises Forbidden."""
    return lambda view: _protect(view, f"role: {', '.join(names)}", lambda: check_role(*names))


def requires_permission(*names: str) -> Callable[[V], V]:
    """Admit people who hold every one of the permissions. Raises Forbidden."""
    return lambda view: _protect(
        view, f"permission: {', '.join(names)}", lambda: check_permission(*names)
    )


def requires_permission_somewhere(*names: str) -> Callable[[V], V]:
    """Admit people who hold every permission over the tenant, or over some organization (K4).

    The view, or its service, compares the object with their reach. Raises Forbidden.
    """
    listed = ", ".join(names)

    def apply(view: V) -> V:
        checked = _protect(
            view, f"permission: {listed}", lambda: check_permission_somewhere(*names)
        )
        return _protect(checked, f"reach: {listed}", lambda: None)

    return apply


def requires_mfa(view: V) -> V:
    """Admit sessions in which a second factor was proved. Raises StepUpRequired."""
    return _protect(view, "mfa", lambda: check_step_up("mfa"))


def requires_step_up(purpose: str) -> Callable[[V], V]:
    """Admit sessions in which `purpose` was proved recently and strongly enough (F1).

    Raises StepUpRequired; browsers are sent to the challenge and back, programs
    get the RFC 9470 answer.
    """
    return lambda view: _protect(view, f"step_up: {purpose}", lambda: check_step_up(purpose))


def requires_tenant(view: V | None = None, *, arg: str = "tenant_id") -> Any:
    """Admit people of the tenant that the view's `arg` names, or of any when it has none.

    Raises NotFound for another tenant: its existence is not told.
    """

    def apply(target: V) -> V:
        return _protect(target, f"tenant: {arg}", lambda: check_tenant(_view_arg(arg)))

    return apply if view is None else apply(view)


def requires_parent(view: V | None = None, *, arg: str = "parent_id") -> Any:
    """Admit people whose `parent_id` is the organization that the view's `arg` names.

    Raises NotFound for another organization, Forbidden where the person has none.
    """

    def apply(target: V) -> V:
        return _protect(target, f"parent: {arg}", lambda: check_parent(_view_arg(arg)))

    return apply if view is None else apply(view)


def guard(blueprint: Blueprint | Flask, *checks: Callable[[V], V]) -> None:
    """Apply decorators to every request of a blueprint: `guard(bp, requires_role("editor"))`."""

    def nothing() -> None:
        return None

    guarded: Any = nothing
    for check in checks:
        guarded = check(guarded)
    setattr(blueprint, POLICY, getattr(guarded, POLICY))
    blueprint.before_request(guarded)


def signed_in() -> Principal:
    """Return the signed-in person. Raises NotAuthenticated."""
    person = current_principal()
    if person is None:
        raise NotAuthenticated
    return person


def check_role(*names: str) -> None:
    """Raise unless the signed-in person holds one of the roles."""
    if not signed_in().has_any_role(*names):
        raise Forbidden(required=f"role {' or '.join(names)}")


def check_permission(*names: str) -> None:
    """Raise unless the signed-in person holds every permission."""
    person = signed_in()
    for name in names:
        if not person.has_permission(name):
            raise Forbidden(required=name)


def check_permission_somewhere(*names: str) -> None:
    """Raise unless the signed-in person holds every permission over some organization."""
    person = signed_in()
    for name in names:
        if not person.grants.reaches(name):
            raise Forbidden(required=name)


def check_step_up(name: str) -> None:
    """Raise unless `name` was proved in this session recently and strongly enough."""
    person = signed_in()
    purpose = purpose_named(name)
    own = any_session()
    # In an access context the person's factors are still those of their own tenant.
    with tenant_scope(own.tenant_id if own is not None else person.tenant_id):
        level = services_factors.step_up_level(person.user_id, purpose.acr)
    if not _is_fresh(person, purpose, level):
        seconds = int(_age(purpose).total_seconds())
        raise StepUpRequired(purpose=name, acr=level, max_age=seconds)


def check_tenant(value: Any) -> None:
    """Raise unless `value`, where given, is the signed-in person's tenant."""
    person = signed_in()
    if value is not None and _as_id(value) != person.tenant_id:
        raise NotFound


def check_parent(value: Any) -> None:
    """Raise unless `value`, where given, is the signed-in person's organization."""
    person = signed_in()
    if person.parent_id is None:
        raise Forbidden(required="an organization")
    if value is not None and _as_id(value) != person.parent_id:
        raise NotFound


def can(permission: str, resource: Any = None) -> bool:
    """Return whether the signed-in person holds a permission; for templates."""
    person = current_principal()
    return person is not None and person.has_permission(permission, resource)


def reaches(permission: str) -> bool:
    """Return whether the signed-in person holds a permission over some organization or more."""
    person = current_principal()
    return person is not None and person.grants.reaches(permission)


def _is_fresh(person: Principal, purpose: Purpose, level: str) -> bool:
    at = clock.now()
    age = _age(purpose)
    if person.proved_within(purpose.name, age, level, at):
        return True
    if not purpose.accepts_sign_in or not person.meets(level):
        return False
    proved_at = person.auth_time if level == "aal1" else person.mfa_time
    return proved_at is not None and at - age <= proved_at <= at


def _age(purpose: Purpose) -> timedelta:
    if purpose.max_age is not None:
        return purpose.max_age
    return timedelta(minutes=effective(AuthSettings).STEP_UP_MINUTES)


def _pending(stages: tuple[str, ...]) -> None:
    person = pending_login()
    if person is None or person.stage not in stages:
        raise NotAuthenticated


def _view_arg(name: str) -> Any:
    return (request.view_args or {}).get(name)


def _as_id(value: Any) -> UUID | None:
    return value if isinstance(value, UUID) else ids.parse_id(str(value))


def _ignore(_value: object) -> None:
    return None


__all__ = [
    "any_session",
    "can",
    "guard",
    "public",
    "reaches",
    "requires_login",
    "requires_mfa",
    "requires_parent",
    "requires_permission",
    "requires_permission_somewhere",
    "requires_role",
    "requires_step_up",
    "requires_tenant",
]
