"""Refusals of the authorization package; every one keeps its evidence."""

from __future__ import annotations

from ..core.errors import Conflict, Forbidden, InvalidInput
from ..core.i18n import N_


class RightsExceeded(Forbidden):
    """The acting person would hand out, or take away, more than they hold."""

    code = "authz.rights_exceeded"
    title = N_("You can only give rights that you hold yourself")


class OwnRights(Forbidden):
    """The acting person would change what they themselves may do."""

    code = "authz.own_rights"
    title = N_("You cannot change your own rights")


class SystemRoleFixed(Conflict):
    """A system role is the same in every tenant."""

    code = "authz.system_role"
    title = N_("System roles cannot be changed or deleted")


class RoleInUse(Conflict):
    """The role has members or roles that inherit from it."""

    code = "authz.role_in_use"
    title = N_("This role is in use. Take it from its members and child roles first")


class LastAdministrator(Conflict):
    """A tenant always keeps one active administrator."""

    code = "authz.last_admin"
    title = N_("This is the last administrator. Make somebody else an administrator first")


class RoleNameTaken(Conflict):
    """Another role of this tenant has the name."""

    code = "authz.role_name_taken"
    title = N_("There is already a role with that name")


class RoleCycle(InvalidInput):
    """A role would inherit from itself, or too many levels deep."""

    code = "authz.role_cycle"
    title = N_("A role cannot inherit from itself or from a role below it")
