"""Actor: who acts, in which tenant and session, and from where.

Routes build one from the request; services take it as their last argument, so
that they never touch the request themselves and CLI, tests and hosts call them alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `kind` is anonymous, user, system, platform or foreign; ids: None where unknown.

    A `platform` actor is an administrator of the platform inside another tenant (an access
    context), a `foreign` one is somebody of another tenant as a tenant's trail names them.
    `generation` is the one of the device cookie that the browser presented.
    """

    kind: str
    tenant_id: UUID
    user_id: UUID | None = None
    session_id: UUID | None = None
    device_id: UUID | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    label: str | None = None
    generation: int = 0

    def acting_as(self, **changes: Any) -> Actor:
        """Return a copy with `changes` applied (a user recognised in mid-request, say)."""
        return replace(self, **changes)

    def seen_in(self, tenant_id: UUID) -> Actor:
        """Return the actor as the trail of a tenant names them: another's user is foreign."""
        foreign = self.kind == "user" and self.tenant_id != tenant_id
        return replace(self, tenant_id=tenant_id, kind="foreign" if foreign else self.kind)


def system_actor(tenant_id: UUID, label: str = "system") -> Actor:
    """Return the actor of jobs and the command line; `label` names the job."""
    return Actor(kind="system", tenant_id=tenant_id, label=label)
