"""The pages of roles, as an administrator, a manager and a stranger use them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from app.auth.accounts import services_accounts
from app.auth.models import IAMMfaMethod, IAMOutbox, IAMRole, IAMRolePermission
from app.authz import services_rbac as rbac
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from tests.conftest import Someone, post

SECRETS = re.compile(r"password_hash|\$argon2|token_digest|gAAAA")


class Desk:
    """An administrator at the pages of roles."""

    def __init__(self, client: FlaskClient, person: Someone, tenant: UUID) -> None:
        self.client = client
        self.person = person
        self.tenant = tenant

    def create(self, name: str = "support_desk", **data: str) -> Any:
        """Send the form of a new role."""
        return post(self.client, "/admin/roles/new", {"name": name, **data})

    def edit(self, role: UUID, name: str, **data: str) -> Any:
        """Send the form of a change."""
        return post(self.client, f"/admin/roles/{role}/edit", {"name": name, **data})

    def delete(self, role: UUID) -> Any:
        """Press the button that deletes, where it is offered or not."""
        page = "/admin/roles/new"
        return post(self.client, f"/admin/roles/{role}/delete", page=page)

    def role(self, name: str) -> IAMRole | None:
        """Return a role as stored now."""
        session().rollback()
        with tenant_scope(self.tenant):
            return rbac.find_role(name)

    def held(self, name: str) -> dict[str, str]:
        """Return what a role holds itself."""
        found = self.role(name)
        assert found is not None
        with tenant_scope(self.tenant):
            items = rbac.permissions_of(found)
        return {item.permission.name: item.scope for item in items if item.source is None}


@pytest.fixture
def desk_of(
    app: Any, tenant: UUID, make_user: Callable[..., Someone], sign_in: Callable[..., Any]
) -> Callable[..., Desk]:
    """Return a factory of signed-in people: `desk_of("tenant_admin")`."""

    def enter(*roles: str, username: str = "ann") -> Desk:
        person = make_user(username, roles=roles, mfa="totp")
        client = app.test_client()
        sign_in(client, person)
        return Desk(client, person, tenant)

    return enter


@pytest.fixture
def desk(desk_of: Callable[..., Desk]) -> Desk:
    """Return a tenant administrator."""
    return desk_of("tenant_admin")


@pytest.fixture
def make_role(tenant: UUID, actor: Actor) -> Callable[..., UUID]:
    """Return a factory of roles made by the system."""

    def make(name: str, *, realm: UUID = tenant, **values: Any) -> UUID:
        with tenant_scope(realm), transaction():
            made = rbac.create_role(
                name, actor_grants=None, actor=system_actor(realm, "tests"), **values
            )
            return made.id

    return make


def test_l2_the_list_shows_the_ten_system_roles_with_their_members(desk: Desk) -> None:
    page = desk.client.get("/admin/roles")
    assert page.status_code == 200
    for name in (
        "super_admin", "partner_admin", "client_admin", "tenant_admin", "user_manager",
        "auditor", "developer", "viewer", "editor", "operator",
    ):  # fmt: skip
        assert f">{name}</a>" in page.text
    assert not SECRETS.search(page.text)


def test_a_role_page_shows_permissions_with_scope_and_source(desk: Desk) -> None:
    role = desk.role("partner_admin")
    assert role is not None
    page = desk.client.get(f"/admin/roles/{role.id}").text
    assert "organization:create" in page
    assert "Their organization and below" in page
    assert "client_admin" in page
    assert "System roles" in page or "system role" in page
    assert "/edit" not in page


def test_a_role_is_made_changed_and_deleted(desk: Desk, audit_rows: Any) -> None:
    viewer = desk.role("viewer")
    assert viewer is not None
    answer = desk.create(
        description="First line",
        parent_id=str(viewer.id),
        mfa_policy="required",
        **{"permission-user:read": "tenant", "permission-session:read": "organization"},
    )
    assert answer.status_code == 303
    assert "The role is created." in desk.client.get(answer.location).text
    role = desk.role("support_desk")
    assert role is not None
    assert (role.description, role.parent_id, role.mfa_policy, role.is_system) == (
        "First line", viewer.id, "required", False,
    )  # fmt: skip
    assert desk.held("support_desk") == {"user:read": "tenant", "session:read": "organization"}

    form = desk.client.get(f"/admin/roles/{role.id}/edit").text
    assert 'value="support_desk"' in form
    answer = desk.edit(role.id, "help_desk", **{"permission-user:read": "own"})
    assert answer.status_code == 303
    assert desk.held("help_desk") == {"user:read": "own"}

    answer = desk.delete(role.id)
    assert answer.status_code == 303
    assert answer.location.endswith("/admin/roles")
    assert desk.role("help_desk") is None
    by_ann = [row.action for row in audit_rows() if row.actor_id == desk.person.id]
    assert by_ann[-4:] == ["ROLE_CREATED", "ROLE_UPDATED", "ROLE_UPDATED", "ROLE_DELETED"]


def test_l3_a_change_bites_at_the_next_click_of_the_person(
    desk_of: Callable[..., Desk], make_role: Callable[..., UUID]
) -> None:
    desk = desk_of("tenant_admin")
    role = make_role("desk_reader", permissions={"admin:access": "tenant", "role:read": "tenant"})
    una = desk_of("desk_reader", username="una")
    assert una.client.get("/admin/roles").status_code == 200
    assert desk.edit(role, "desk_reader").status_code == 303
    assert una.client.get("/admin/roles").status_code == 403


@pytest.mark.parametrize("name", ["", "A", "Support Desk", "1st", "r\u00f6le", "x" * 65])
def test_a_bad_name_is_told_beside_its_field(desk: Desk, name: str) -> None:
    answer = desk.create(name, **{"permission-user:read": "own"})
    assert answer.status_code == 422
    assert 'id="name-error"' in answer.text
    assert re.search(r'<option value="own" selected>', answer.text)


def test_a_taken_name_is_told_beside_its_field(desk: Desk) -> None:
    answer = desk.create("viewer")
    assert answer.status_code == 409
    assert 'id="name-error"' in answer.text


def test_at_365_fields_without_a_field_are_ignored(desk: Desk) -> None:
    answer = desk.create(
        is_system="1", tenant_id=str(new_id()), id=str(new_id()), created_at="2000-01-01",
        members="99", **{"permission-user:fly": "tenant", "permissions": "user:delete"},
    )  # fmt: skip
    assert answer.status_code == 303
    role = desk.role("support_desk")
    assert role is not None
    assert not role.is_system
    assert role.tenant_id == desk.tenant
    assert desk.held("support_desk") == {}


@pytest.mark.parametrize("scope", ["universe", "tenant ", "TENANT", "*", "tenant,global"])
def test_at_377_a_scope_nobody_declared_is_refused(desk: Desk, scope: str) -> None:
    answer = desk.create(**{"permission-user:read": scope})
    assert answer.status_code == 422
    assert desk.role("support_desk") is None


def test_at_376_what_the_author_lacks_is_not_offered_and_not_accepted(desk: Desk) -> None:
    page = desk.client.get("/admin/roles/new").text
    assert 'value="global"' not in page
    assert ">super_admin<" not in page
    answer = desk.create(**{"permission-user:read": "global"})
    assert answer.status_code == 403
    assert "You can only give rights that you hold yourself" in answer.text
    top = desk.role("super_admin")
    assert top is not None
    answer = desk.create(parent_id=str(top.id))
    assert answer.status_code == 422  # not among the choices
    assert desk.role("support_desk") is None


def test_at_376_an_author_of_roles_cannot_go_beyond_themselves(
    desk_of: Callable[..., Desk], make_role: Callable[..., UUID], audit_rows: Any
) -> None:
    make_role(
        "role_author",
        permissions={
            "admin:access": "tenant", "role:create": "tenant", "role:read": "tenant",
            "user:read": "tenant",
        },
    )  # fmt: skip
    una = desk_of("role_author", username="una")
    assert "You do not hold this" in una.client.get("/admin/roles/new").text
    assert una.create(**{"permission-user:delete": "own"}).status_code == 403
    assert una.create(**{"permission-user:read": "organization"}).status_code == 303
    refused = audit_rows("ROLE_CHANGE_REFUSED")
    assert [(row.status, row.error) for row in refused] == [("denied", "authz.rights_exceeded")]


def test_at_375_nobody_changes_a_role_they_hold(
    desk_of: Callable[..., Desk], make_role: Callable[..., UUID]
) -> None:
    role = make_role("my_own_role", permissions={"role:read": "tenant"})
    desk = desk_of("tenant_admin", "my_own_role")
    page = desk.client.get(f"/admin/roles/{role}").text
    assert f"/admin/roles/{role}/edit" not in page
    answer = desk.edit(role, "my_own_role", **{"permission-user:delete": "tenant"})
    assert answer.status_code == 403
    assert desk.delete(role).status_code == 403
    assert desk.held("my_own_role") == {"role:read": "tenant"}


def test_l2_a_system_role_is_not_changed_by_hand_made_requests(desk: Desk) -> None:
    role = desk.role("viewer")
    assert role is not None
    before = desk.held("viewer")
    assert desk.edit(role.id, "viewer").status_code == 409
    assert desk.delete(role.id).status_code == 409
    assert desk.held("viewer") == before


def test_a_role_in_use_is_not_deleted_and_the_page_says_why(
    desk: Desk, make_role: Callable[..., UUID], make_user: Callable[..., Someone]
) -> None:
    role = make_role("held_role")
    make_user("otto", roles=["held_role"])
    answer = desk.delete(role)
    assert answer.status_code == 409
    assert "This role is in use" in answer.text
    assert desk.role("held_role") is not None


def test_at_373_a_cycle_is_neither_offered_nor_accepted(
    desk: Desk, make_role: Callable[..., UUID]
) -> None:
    top = make_role("top_role")
    below = make_role("below_role", parent_id=top)
    page = desk.client.get(f"/admin/roles/{top}/edit").text
    assert f'value="{below}"' not in page
    assert f'value="{top}"' not in page
    for parent in (top, below):
        assert desk.edit(top, "top_role", parent_id=str(parent)).status_code == 422
    role = desk.role("top_role")
    assert role is not None
    assert role.parent_id is None


@pytest.mark.parametrize("roles", [(), ("viewer",), ("editor",), ("operator",)])
def test_people_without_the_right_see_nothing(
    desk_of: Callable[..., Desk], roles: tuple[str, ...]
) -> None:
    desk = desk_of(*roles)
    viewer = desk.role("viewer")
    assert viewer is not None
    for path in ("", "/new", f"/{viewer.id}", f"/{viewer.id}/edit"):
        assert desk.client.get(f"/admin/roles{path}").status_code == 403


@pytest.mark.parametrize("role", ["auditor", "developer", "user_manager", "client_admin"])
def test_whoever_may_read_roles_may_not_change_them(
    desk_of: Callable[..., Desk], make_role: Callable[..., UUID], role: str
) -> None:
    made = make_role("some_role")
    desk = desk_of(role)
    page = desk.client.get("/admin/roles")
    assert page.status_code == 200
    assert "/admin/roles/new" not in page.text
    assert desk.client.get(f"/admin/roles/{made}").status_code == 200
    for path in ("/new", f"/{made}/edit"):
        assert desk.client.get(f"/admin/roles{path}").status_code == 403


def test_nobody_at_all_is_sent_to_sign_in(client: FlaskClient, app: Any) -> None:
    answer = client.get("/admin/roles")
    assert answer.status_code == 303
    assert "/auth/login" in answer.location
    assert client.get("/admin/roles", headers={"Accept": "application/json"}).status_code == 401


def test_at_366_roles_of_another_tenant_and_unknown_ones_are_the_same_nothing(
    desk: Desk, make_role: Callable[..., UUID], other_tenant: UUID
) -> None:
    foreign = make_role("foreign_role", realm=other_tenant, permissions={"user:read": "tenant"})
    pages = {}
    for role in (foreign, new_id(), "not-an-id", "0", "%00", "'"):
        answers = [
            desk.client.get(f"/admin/roles/{role}"),
            desk.client.get(f"/admin/roles/{role}/edit"),
            desk.delete(role),  # type: ignore[arg-type]
        ]
        assert [answer.status_code for answer in answers] == [404] * 3
        pages[role] = answers[0].text
    assert "foreign_role" not in "".join(pages.values())
    assert "foreign_role" not in desk.client.get("/admin/roles").text
    with tenant_scope(other_tenant):
        held = select(IAMRolePermission.id).where(IAMRolePermission.role_id == foreign)
        assert session().scalar(held) is not None


def test_at_369_a_parent_of_another_tenant_is_refused(
    desk: Desk, make_role: Callable[..., UUID], other_tenant: UUID
) -> None:
    foreign = make_role("foreign_role", realm=other_tenant)
    assert desk.create(parent_id=str(foreign)).status_code == 422
    assert desk.role("support_desk") is None


def test_a_change_without_a_form_token_is_refused(
    desk: Desk, make_role: Callable[..., UUID]
) -> None:
    role = make_role("some_role")
    for path in ("/new", f"/{role}/edit", f"/{role}/delete"):
        answer = desk.client.post(f"/admin/roles{path}", data={"name": "other_name"})
        assert answer.status_code in {400, 403}
    assert desk.role("some_role") is not None


def test_a_role_is_never_deleted_by_a_link(desk: Desk, make_role: Callable[..., UUID]) -> None:
    role = make_role("some_role")
    assert desk.client.get(f"/admin/roles/{role}/delete").status_code in {404, 405}
    assert desk.role("some_role") is not None


def test_f1_changing_roles_needs_a_fresh_second_factor(
    app: Any, tenant: UUID, make_user: Callable[..., Someone], sign_in: Callable[..., Any]
) -> None:
    person = make_user("ann", roles=["tenant_admin"], mfa="totp")
    client = app.test_client()
    with clock.travel(timedelta(minutes=-20)):
        sign_in(client, person)
    assert client.get("/admin/roles").status_code == 200
    answer = client.get("/admin/roles/new")
    assert answer.status_code == 303
    assert "/admin/roles/new" not in answer.location.partition("?")[0]


def test_text_of_a_role_is_shown_as_text(desk: Desk, make_role: Callable[..., UUID]) -> None:
    role = make_role("odd_role", description='<script>alert("x")</script>{{ 7*7 }}')
    for path in ("", f"/{role}", f"/{role}/edit"):
        page = desk.client.get(f"/admin/roles{path}").text
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page
        assert "{{ 7*7 }}" in page


def test_at_387_no_page_of_roles_carries_a_secret(desk: Desk) -> None:
    role = desk.role("tenant_admin")
    assert role is not None
    for path in ("", "/new", f"/{role.id}"):
        assert not SECRETS.search(desk.client.get(f"/admin/roles{path}").text)


def test_members_are_counted(desk: Desk, make_user: Callable[..., Someone]) -> None:
    for name in ("otto", "una"):
        make_user(name, roles=["auditor"])
    role = desk.role("auditor")
    assert role is not None
    page = desk.client.get(f"/admin/roles/{role.id}").text
    assert re.search(r"Members</dt><dd>(<a [^>]*>)?2(</a>)?</dd>", page)


def test_at_375_a_user_manager_cannot_take_over_an_editor(
    desk_of: Callable[..., Desk], make_user: Callable[..., Someone], tenant: UUID, audit_rows: Any
) -> None:
    editor = make_user("ed", roles=["editor"], mfa="totp")
    client = desk_of("user_manager", username="uma").client
    page = f"/admin/users/{editor.id}"
    mail = {"username": "ed", "email": "mine@example.org", "actor_type": "end_user"}
    assert post(client, f"{page}/edit", mail).status_code == 403
    assert post(client, f"{page}/password-link", page="/admin/users/new").status_code == 403
    reason = {"reason": "Asked for on the phone"}
    assert post(client, f"{page}/reset-factors", reason).status_code == 403
    session().rollback()
    with tenant_scope(tenant):
        user = services_accounts.get_user(editor.id)
        methods = list(session().scalars(select(IAMMfaMethod.method)))
        assert session().scalar(select(IAMOutbox.id)) is None
    assert (user.email, user.status) == ("ed@example.com", "active")
    assert methods.count("totp") == 2
    assert len(audit_rows("ROLE_CHANGE_REFUSED")) == 3


def test_at_489_admin_access_demands_a_second_factor(
    app: Any,
    make_role: Callable[..., UUID],
    make_user: Callable[..., Someone],
    sign_in: Callable[..., Any],
) -> None:
    make_role("front_desk", permissions={"admin:access": "tenant"}, mfa_policy="off")
    for name, role in (("fay", "front_desk"), ("otto", "operator"), ("dev", "developer")):
        client = app.test_client()
        sign_in(client, make_user(name, roles=[role]))
        answer = client.get("/admin")
        assert answer.status_code == 303, role
        assert "/mfa/" in answer.headers["Location"]
