"""One question to a person's rights: 50 roles of 200 permissions each, resolved and warm."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from uuid import UUID

import sqlalchemy as sa

from app.auth.models import IAMUserAccount
from app.authz import services_rbac
from app.authz.grants import Grants
from app.authz.models import IAMPermission, IAMRole, IAMRolePermission, IAMUserRole
from app.core import clock
from app.core.db import engine, session
from app.core.ids import new_id
from app.core.scoping import tenant_scope

from .report import Report
from .subjects import make_service, seed

ROLES, PERMISSIONS, QUESTIONS = 50, 200, 100_000


def measure(url: str, report: Report, engine_name: str) -> None:
    """Report the microseconds of a warm check, and the milliseconds of the first resolution."""
    app = make_service(url)
    tenant_id = seed(app, 1, prefix="rights").tenant_id
    with app.app_context(), tenant_scope(tenant_id):
        user_id = _give(tenant_id)
        resolve = _resolver(tenant_id, user_id)
        cold = min(timeit.repeat(lambda: (services_rbac.forget(), resolve()), number=1, repeat=5))
        grants = resolve()
        names = [f"bench{number}:act" for number in (0, PERMISSIONS // 2, PERMISSIONS - 1)]
        if not all(grants.allows(name) for name in names) or grants.allows("bench:other"):
            raise RuntimeError("the rights are not as they were given")
        held = _microseconds(lambda: grants.allows(names[1]))
        denied = _microseconds(lambda: grants.allows("bench:other"))
        warm = _microseconds(resolve)
    report.add("permission_check", held, "us", target="<= 2 us", met=max(held, denied) <= 2,
               peer=f"refused: {denied:.2f} us", engine=engine_name)  # fmt: skip
    report.add("permission_lookup_warm", warm, "us", engine=engine_name,
               peer="finding the resolved rights, no SQL")  # fmt: skip
    report.add("permission_resolution", cold * 1000, "ms", engine=engine_name,
               peer=f"{ROLES} roles, {ROLES * PERMISSIONS} grants, once per version")  # fmt: skip


def _resolver(tenant_id: UUID, user_id: UUID) -> Callable[[], Grants]:
    at = clock.now()
    return lambda: services_rbac.resolve(
        tenant_id, user_id, tenant_version=1, user_version=1, at=at
    )


def _microseconds(question: Callable[[], object]) -> float:
    return min(timeit.repeat(question, number=QUESTIONS, repeat=5)) / QUESTIONS * 1e6


def _give(tenant_id: UUID) -> UUID:
    at = clock.now()
    user_id = session().scalar(sa.select(IAMUserAccount.id).limit(1))
    session().commit()
    if user_id is None:
        raise RuntimeError("there is nobody to give rights to")
    roles = [new_id() for _ in range(ROLES)]
    permissions = [new_id() for _ in range(PERMISSIONS)]
    common = {"tenant_id": tenant_id}
    rows: dict[type, list[dict[str, object]]] = {
        IAMRole: [
            {"id": row, "name": f"bench{number}", "created_at": at, **common}
            for number, row in enumerate(roles)
        ],
        IAMPermission: [
            {"id": row, "name": f"bench{number}:act", "resource": "bench", "action": "act",
             **common}
            for number, row in enumerate(permissions)
        ],
        IAMRolePermission: [
            {"id": new_id(), "role_id": role, "permission_id": permission, **common}
            for role in roles
            for permission in permissions
        ],
        IAMUserRole: [
            {"id": new_id(), "user_id": user_id, "role_id": role, "assigned_at": at, **common}
            for role in roles
        ],
    }  # fmt: skip
    with engine().begin() as connection:
        for model, values in rows.items():
            connection.execute(sa.insert(model), values)
    return user_id
