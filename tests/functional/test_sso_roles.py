"""Roles by what another service says: given, taken, never more than their author had (G4)."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, event, func, select, update

from app.auth.accounts.services_directory import get_user
from app.auth.models import IAMUserAccount, IAMUserRole
from app.auth.sso import services_role_rules
from app.auth.sso.attributes import values_at
from app.auth.sso.userinfo import UserInfo
from app.authz import services_mapped_roles
from app.authz import services_rbac as rbac
from app.authz.errors import LastAdministrator, RightsExceeded
from app.authz.models import IAMPermission, IAMRole, IAMRolePermission
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.tenancy.models import IAMTenant
from tests.support.people import load
from tests.support.sso import make_connection


@pytest.fixture
def connection(app, scoped):
    return make_connection(app, "http://127.0.0.1:9", jit="open")


@pytest.fixture
def ann(scoped, make_user):
    return make_user("ann")


@pytest.fixture
def rule(connection, actor):
    """Return a helper by which the system writes a rule: `rule("staff", "editor")`."""

    def write(value, role, claim="groups", to=connection):
        with transaction():
            return services_role_rules.add_rule(
                to.id, claim, value, rbac.find_role(role), actor_grants=None, actor=actor
            ).id

    return write


@pytest.fixture
def sign_in_saying(connection, actor):
    """Return a helper that evaluates the rules for a person with these claims."""

    def say(person, to=connection, **claims):
        with transaction():
            info = UserInfo(issuer="https://idp.example", subject="s", claims=claims)
            services_role_rules.apply(get_user(person.id), info, to, actor=actor)
        return held(person)

    return say


def held(person):
    session().rollback()
    return {item.role.name for item in rbac.roles_of(load(person.id))}


def version(person):
    session().rollback()
    return load(person.id).authz_version


def grants_of(person):
    user = load(person.id)
    tenant = session().scalar(select(IAMTenant).where(IAMTenant.id == user.tenant_id))
    return rbac.resolve(
        user.tenant_id, user.id, tenant_version=tenant.authz_version,
        user_version=user.authz_version, at=clock.now(),
    )  # fmt: skip


def acting(person, tenant):
    return Actor(kind="user", tenant_id=tenant, user_id=person.id)


def as_author(person, connection, role):
    with transaction():
        return services_role_rules.add_rule(
            connection.id, "groups", "staff", rbac.find_role(role),
            actor_grants=grants_of(person), actor=acting(person, connection.tenant_id),
        )  # fmt: skip


def make_role(actor, name, holds=()):
    with transaction():
        role = rbac.create_role(name, actor_grants=None, actor=actor)
        give_permissions(role, actor, *holds)
        return role.id


def give_permissions(role, actor, *names):
    with transaction():
        rbac.set_role_permissions(
            role, dict.fromkeys(names, "tenant"), actor_grants=None, actor=actor
        )


# ---------------------------------------------------------------- given and taken


def test_g4_a_claim_gives_a_role_and_takes_it_away(ann, rule, sign_in_saying, audit_rows):
    rule("staff", "editor")
    rule("audit", "auditor")
    assert sign_in_saying(ann, groups=["staff", "other"]) == {"editor"}
    assert grants_of(ann).has_role("viewer")
    assert sign_in_saying(ann, groups=["audit"]) == {"auditor"}
    assert sign_in_saying(ann) == set()
    changes = [(r.details["roles"], r.details["removed"]) for r in audit_rows("SSO_ROLES_APPLIED")]
    assert changes == [(["editor"], []), (["auditor"], ["editor"]), ([], ["auditor"])]


def test_g4_only_what_changes_moves_the_version(ann, rule, sign_in_saying, audit_rows):
    rule("staff", "editor")
    before = version(ann)
    sign_in_saying(ann, groups=["other"])
    assert version(ann) == before
    sign_in_saying(ann, groups=["staff"])
    assert version(ann) == before + 1
    sign_in_saying(ann, groups=["staff"])
    assert version(ann) == before + 1
    assert len(audit_rows("SSO_ROLES_APPLIED")) == 1


def test_g4_a_role_given_by_hand_is_never_touched(ann, rule, sign_in_saying, actor):
    rule("staff", "editor")
    with transaction():
        rbac.assign_role(load(ann.id), rbac.find_role("editor"), actor_grants=None, actor=actor)
    assert sign_in_saying(ann, groups=["staff"]) == {"editor"}
    assert sign_in_saying(ann, groups=[]) == {"editor"}
    (row,) = session().scalars(select(IAMUserRole)).all()
    assert row.connection_id is None


def test_g4_one_connection_takes_nothing_that_another_gave(app, ann, rule, sign_in_saying):
    other = make_connection(app, "http://127.0.0.1:9", slug="other")
    rule("staff", "editor")
    rule("boss", "auditor", to=other)
    sign_in_saying(ann, groups=["staff"])
    assert sign_in_saying(ann, to=other, groups=["boss"]) == {"editor", "auditor"}
    assert sign_in_saying(ann, to=other, groups=[]) == {"editor"}


def test_g4_a_role_of_a_rule_that_is_gone_ends_at_the_next_sign_in(
    ann, rule, sign_in_saying, actor, audit_rows
):
    row_id = rule("staff", "editor")
    sign_in_saying(ann, groups=["staff"])
    with transaction():
        services_role_rules.remove_rule(row_id, actor_grants=None, actor=actor)
    assert sign_in_saying(ann, groups=["staff"]) == set()
    assert [row.details["role"] for row in audit_rows("SSO_RULE_REMOVED")] == ["editor"]


def test_g4_what_a_connection_gave_goes_with_it(ann, connection, rule, sign_in_saying, actor):
    rule("staff", "editor")
    before = version(ann)
    sign_in_saying(ann, groups=["staff"])
    with transaction():
        assert services_role_rules.withdraw(connection.id, actor=actor) == 1
    assert held(ann) == set()
    assert version(ann) == before + 2


def test_at_215_an_account_that_waits_for_its_verification_gets_no_role(
    make_user, rule, sign_in_saying
):
    rule("staff", "editor")
    waiting = make_user("bob", status="pending_verification", email_verified=False)
    assert sign_in_saying(waiting, groups=["staff"]) == set()


@pytest.mark.parametrize(
    ("said", "claim", "value", "given"),
    [
        ({"groups": "staff"}, "groups", "staff", True),
        ({"groups": ["Staff"]}, "groups", "staff", False),
        ({"groups": "staffers"}, "groups", "staff", False),
        ({"groups": "staff admins"}, "groups", "staff", False),
        ({"groups": [["staff"]]}, "groups", "staff", False),
        ({"realm_access": {"roles": ["staff"]}}, "realm_access.roles", "staff", True),
        ({"https://example.com/roles": ["staff"]}, "https://example.com/roles", "staff", True),
        ({"a.b": {"c": "staff"}}, "a.b.c", "staff", True),
        ({"staff": True}, "staff", "true", True),
        ({"level": 3}, "level", "3", True),
        ({"staff": None}, "staff", "None", False),
        ({"groups": {"staff": True}}, "groups", "staff", False),
    ],
)
def test_g4_claims_are_found_by_path_and_compared_exactly(
    ann, rule, sign_in_saying, said, claim, value, given
):
    rule(value, "editor", claim)
    assert sign_in_saying(ann, **said) == ({"editor"} if given else set())


def test_g4_a_path_of_dots_ends(scoped):
    assert values_at({"a": {"a": {}}}, "a" + ".a" * 59) == ()


# ---------------------------------------------------------------- never more than the author had


def test_at_209_a_claim_names_no_role_by_itself(ann, rule, sign_in_saying):
    rule("staff", "editor")
    named = ["super_admin", "tenant_admin", "auditor", "role:super_admin"]
    assert sign_in_saying(ann, groups=named, roles=named, role="super_admin") == set()


def test_at_209_super_admin_is_never_mapped(connection, rule, actor, make_user, audit_rows):
    with pytest.raises(RightsExceeded):
        rule("staff", "super_admin")
    boss = make_user("boss", roles=["super_admin"], actor_type="super_admin")
    with pytest.raises(RightsExceeded):
        as_author(boss, connection, "super_admin")
    assert services_role_rules.rules_of(connection.id) == []
    assert {row.details["reason"] for row in audit_rows("ROLE_CHANGE_REFUSED")} == {"never mapped"}


def test_at_209_nor_is_what_inherits_from_it_later(ann, rule, sign_in_saying, actor, audit_rows):
    role_id = make_role(actor, "quiet")
    rule("staff", "quiet")
    with transaction():
        parent = rbac.find_role("super_admin").id
        session().execute(update(IAMRole).where(IAMRole.id == role_id).values(parent_id=parent))
    assert sign_in_saying(ann, groups=["staff"]) == set()
    assert [row.details["reason"] for row in audit_rows("SSO_ROLE_WITHHELD")] == ["forbidden"]


def test_g4_nobody_maps_what_they_could_not_give(connection, make_user, actor, audit_rows):
    manager = make_user("max", roles=["user_manager"])
    make_role(actor, "reader", holds=["audit:read"])
    for role in ("tenant_admin", "auditor", "reader"):
        with pytest.raises(RightsExceeded):
            as_author(manager, connection, role)
    with pytest.raises(Forbidden):
        as_author(make_user("eve", roles=["auditor"]), connection, "viewer")
    assert len(audit_rows("ROLE_CHANGE_REFUSED")) == 4
    assert as_author(manager, connection, "viewer").written_by == manager.id


def test_g4_an_empty_role_is_not_mapped_by_who_lacks_its_name(connection, make_user, actor):
    """The host asks for roles by name: an empty one may open everything there."""
    make_role(actor, "opener")
    with pytest.raises(RightsExceeded):
        as_author(make_user("max", roles=["user_manager"]), connection, "opener")


def test_g4_an_administrator_maps_no_right_of_the_hosts_that_they_lack(
    connection, make_user, actor, tenant
):
    with transaction():
        rbac.define_permission("ledger:close", "Close the ledger", actor=actor)
    make_role(actor, "bookkeeper", holds=["ledger:close"])
    try:
        with pytest.raises(RightsExceeded):
            as_author(make_user("boss", roles=["tenant_admin"]), connection, "bookkeeper")
    finally:
        with transaction():
            session().execute(
                delete(IAMRolePermission).where(
                    IAMRolePermission.role_id == rbac.find_role("bookkeeper").id
                )
            )
            session().execute(delete(IAMPermission).where(IAMPermission.name == "ledger:close"))


def test_g4_an_administrator_maps_their_own_kind(ann, connection, make_user, sign_in_saying):
    boss = make_user("boss", roles=["tenant_admin"])
    as_author(boss, connection, "tenant_admin")
    assert sign_in_saying(ann, groups=["staff"]) == {"tenant_admin"}


@pytest.mark.parametrize("how", ["permission", "parent"])
def test_g4_a_role_that_grew_is_withheld_until_the_rule_is_written_again(
    ann, connection, rule, sign_in_saying, actor, audit_rows, how
):
    role_id = make_role(actor, "reader", holds=["user:read"])
    row_id = rule("staff", "reader")
    assert sign_in_saying(ann, groups=["staff"]) == {"reader"}
    if how == "permission":
        give_permissions(rbac.get_role(role_id), actor, "user:read", "user:delete")
    else:  # the host asks for roles by name: an empty one may open everything there
        make_role(actor, "opener")
        with transaction():
            parent = rbac.find_role("opener").id
            session().execute(update(IAMRole).where(IAMRole.id == role_id).values(parent_id=parent))
    assert sign_in_saying(ann, groups=["staff"]) == set()
    (row,) = audit_rows("SSO_ROLE_WITHHELD")
    assert (row.details["role"], row.details["reason"], row.status) == ("reader", "grown", "denied")
    assert [item.withheld for item in services_role_rules.rules_of(connection.id)] == [True]
    with transaction():
        services_role_rules.remove_rule(row_id, actor_grants=None, actor=actor)
    rule("staff", "reader")
    assert [item.withheld for item in services_role_rules.rules_of(connection.id)] == [False]
    assert sign_in_saying(ann, groups=["staff"]) == {"reader"}


def test_g4_a_role_that_shrank_is_given(ann, rule, sign_in_saying, actor):
    role_id = make_role(actor, "reader", holds=["user:read", "audit:read"])
    rule("staff", "reader")
    give_permissions(rbac.get_role(role_id), actor, "user:read")
    assert sign_in_saying(ann, groups=["staff"]) == {"reader"}


def test_at_380_a_claim_does_not_take_the_last_administrator(
    ann, connection, rule, sign_in_saying, actor, make_user, audit_rows
):
    rule("boss", "tenant_admin")
    rule("staff", "editor")
    sign_in_saying(ann, groups=["boss", "staff"])
    assert sign_in_saying(ann, groups=[]) == {"tenant_admin"}
    before = version(ann)
    assert sign_in_saying(ann, groups=[]) == {"tenant_admin"}
    assert version(ann) == before
    assert audit_rows("ROLE_CHANGE_REFUSED")[-1].details["reason"] == "last administrator"
    with pytest.raises(LastAdministrator), transaction():
        services_role_rules.withdraw(connection.id, actor=actor)
    assert held(ann) == {"tenant_admin"}
    make_user("other", roles=["tenant_admin"])
    assert sign_in_saying(ann, groups=[]) == set()


# ---------------------------------------------------------------- rules themselves


def test_g4_rules_are_listed_as_written(connection, rule):
    rule("staff", "editor")
    rule("audit", "auditor", "realm_access.roles")
    shown = [(r.claim, r.value, r.role) for r in services_role_rules.rules_of(connection.id)]
    assert shown == [("groups", "staff", "editor"), ("realm_access.roles", "audit", "auditor")]


@pytest.mark.parametrize(
    ("claim", "value", "field"),
    [("", "x", "claim"), ("a b", "x", "claim"), ("x" * 121, "x", "claim"), ("g", "", "value"),
     ("g", "x" * 256, "value"), ("g", "a\x00", "value")],
)  # fmt: skip
def test_g4_a_rule_that_could_never_match_is_refused(rule, claim, value, field):
    with pytest.raises(InvalidInput) as refused:
        rule(value, "editor", claim)
    assert refused.value.field == field


def test_g4_a_rule_is_there_once(rule):
    rule("staff", "editor")
    with pytest.raises(Conflict):
        rule("staff", "editor")


def test_k1_rules_of_another_tenant_are_not_found(
    app, connection, rule, other_tenant, actor, audit_rows
):
    row_id = rule("staff", "editor")
    with tenant_scope(other_tenant):
        foreign = rbac.find_role("editor")
        assert services_role_rules.rules_of(connection.id) == []
        with pytest.raises(NotFound), transaction():
            services_role_rules.remove_rule(row_id, actor_grants=None, actor=actor)
        with pytest.raises(NotFound), transaction():
            services_role_rules.add_rule(
                connection.id, "g", "v", foreign, actor_grants=None, actor=actor
            )
    with pytest.raises(NotFound), transaction():
        services_role_rules.add_rule(
            connection.id, "g", "v", foreign, actor_grants=None, actor=actor
        )
    with pytest.raises(NotFound), transaction():
        services_role_rules.remove_rule(new_id(), actor_grants=None, actor=actor)


def test_x3_the_number_of_statements_does_not_grow_with_the_roles(
    app, connection, make_user, rule, sign_in_saying, actor
):
    counts = []
    for number in (1, 8):
        for index in range(number):
            make_role(actor, f"r{number}_{index}", holds=["user:read"])
            rule(f"g{index}", f"r{number}_{index}", f"groups{number}")
        person = make_user(f"p{number}")
        said = {f"groups{number}": [f"g{index}" for index in range(number)]}
        counts.append(statements(app, lambda p=person, s=said: sign_in_saying(p, **s)))
        counts.append(statements(app, lambda p=person: sign_in_saying(p)))
    assert counts[0] == counts[2]
    assert counts[1] == counts[3]


def statements(app, work):
    seen = []

    def note(_conn, _cursor, statement, *_rest):
        seen.append(statement)

    engine = app.extensions["sqlalchemy"].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def test_g4_mapped_roles_carry_their_connection(ann, connection, rule, sign_in_saying):
    rule("staff", "editor")
    sign_in_saying(ann, groups=["staff"])
    row = session().scalars(select(IAMUserRole)).one()
    assert (row.connection_id, row.scope, row.assigned_by) == (connection.id, "tenant", None)
    assert services_mapped_roles.GROWN == "grown"
    assert session().scalar(select(func.count(IAMUserAccount.id))) == 1
