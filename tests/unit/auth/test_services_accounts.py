"""Accounts created, changed, suspended, erased, listed (B1-B4, B6, D8, AT-105, AT-365, AT-380…)."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event, func, select

from app.auth.accounts import services_accounts as accounts
from app.auth.accounts.errors_accounts import AccountState, IdentityTaken, OwnAccount
from app.auth.models import (
    IAMActionToken,
    IAMAuthSession,
    IAMDevice,
    IAMMfaMethod,
    IAMOrganization,
    IAMOutbox,
    IAMPasswordHistory,
    IAMRecoveryCode,
    IAMUserAccount,
    IAMUserRole,
)
from app.auth.sessions import services_session_lookup, services_sessions
from app.authz import services_rbac
from app.authz.errors import LastAdministrator, RightsExceeded
from app.core import clock, signals
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.errors import BadRequest, Forbidden, InvalidInput, NotFound
from app.core.ids import new_id
from app.core.paging import encode_cursor
from app.core.scoping import tenant_scope

SOME_ID = "019a1fcb-1e28-7cd1-9032-2a8b73d4d8c6"


@pytest.fixture
def create(scoped, actor):
    """Return a factory of accounts as the system makes them."""

    def make(username="ann", **values):
        values = {"email": f"{username}@example.org", "invite": False, **values}
        with transaction():
            return accounts.create_user(
                username=username, actor_grants=None, actor=actor, **values
            ).id

    return make


@pytest.fixture
def person(scoped):
    """Return a helper that turns an account id into (actor, grants)."""

    def of(user_id):
        user = accounts.get_user(user_id)
        tenant = services_sessions.tenant_of(user)
        grants = services_rbac.resolve(
            user.tenant_id,
            user.id,
            tenant_version=tenant.authz_version,
            user_version=user.authz_version,
            at=clock.now(),
        )
        return Actor(kind="user", tenant_id=scoped, user_id=user_id), grants

    return of


def act(function, user_id, who, **values):
    actor, grants = who
    with transaction():
        return function(accounts.get_user(user_id), actor_grants=grants, actor=actor, **values)


@pytest.fixture
def as_system(actor):
    return actor, None


def open_session(user_id, actor):
    with transaction():
        return services_sessions.open_session(
            accounts.get_user(user_id), state="active", stage="done", amr=("pwd",), acr="aal1",
            device_id=None, remember=False, next_url=None, actor=actor,
        ).token  # fmt: skip


def seen(signal):
    """Return a list that fills with what `signal` tells, and the listener to keep alive."""
    heard = []

    def listen(sender, **values):
        heard.append((sender, values))

    signal.connect(listen)
    return heard, listen


# --------------------------------------------------------------------- look-up


def test_b1_somebody_is_found_by_username_or_address_in_any_case(create):
    user_id = create("Ann.B", email="Ann@Example.ORG")
    for text in ("ann.b", " ANN.B ", "ann@example.org", "ANN@EXAMPLE.ORG", "\uff21nn.b"):
        assert accounts.find_by_login(text).id == user_id


@pytest.mark.parametrize(
    "text",
    [None, "", "  ", "nobody", "a\x00nn", "a\ud800nn", "ann\u200b", "x" * 400, "@", "a@b@c",
     "ann@example.org,bob@example.org", "%", "a_n"],
)  # fmt: skip
def test_at_019_what_is_no_name_finds_nobody(create, text):
    create("ann")
    assert accounts.find_by_login(text) is None


def test_at_096_a_look_alike_address_finds_nobody(create):
    create("mike", email="mike@example.org")
    assert accounts.find_by_login("m\u0131ke@example.org") is None
    assert accounts.find_by_login("mi\u212ae@example.org") is None
    assert accounts.find_by_login("MIKE@example.org") is not None


def test_m4_finding_somebody_is_one_query(create):
    create("ann")
    counted = []
    engine = session().get_bind()

    def count(_connection, _cursor, statement, *_args):
        if statement.startswith("SELECT"):
            counted.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    try:
        accounts.find_by_login("ann")
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert len(counted) == 1


def test_at_366_an_account_of_another_tenant_is_not_found(create, other_tenant, make_user):
    theirs = make_user("theirs", tenant_id=other_tenant)
    with pytest.raises(NotFound):
        accounts.get_user(theirs.id)
    with pytest.raises(NotFound):
        accounts.get_user(None)
    assert accounts.find_by_login("theirs") is None


# -------------------------------------------------------------------- creating


def test_b3_a_new_account_is_invited_and_gets_a_link_not_a_password(create, audit_rows):
    heard, _keep = seen(signals.user_created)
    user_id = create("ann", invite=True)
    user = accounts.get_user(user_id)
    assert (user.status, user.password_hash, user.email_verified) == ("invited", None, False)
    assert session().scalar(select(func.count(IAMActionToken.id))) == 1
    assert session().scalar(select(IAMOutbox.user_id)) == user_id
    assert [row.resource_id for row in audit_rows("USER_CREATED")] == [user_id]
    assert heard == [(str(user_id), {})]


def test_b3_an_invitation_needs_an_address(create):
    with pytest.raises(InvalidInput) as caught:
        create("ann", email=None, invite=True)
    assert caught.value.field == "email"


@pytest.mark.parametrize(
    ("username", "email", "field"),
    [("ANN", "other@example.org", "username"), ("bob", "ANN@EXAMPLE.org", "email"),
     ("\uff41nn", "other@example.org", "username")],
)  # fmt: skip
def test_b1_a_name_or_address_in_use_is_a_conflict_that_names_the_field(
    create, username, email, field
):
    create("ann", email="ann@example.org")
    with pytest.raises(IdentityTaken) as caught:
        create(username, email=email)
    assert caught.value.field == field


def test_b1_accents_never_collide_in_the_database(create):
    names = ["resume", "r\u00e9sume", "r\u00e9sum\u00e9", "rezume", "re\u0161ume"]
    ids = {create(name, email=f"p{place}@example.org") for place, name in enumerate(names)}
    assert len(ids) == 5
    for name in names:
        assert accounts.find_by_login(name).username == name


def test_b1_the_same_name_is_free_in_another_tenant(create, make_user, other_tenant):
    create("ann", email="ann@example.com")
    assert make_user("ann", tenant_id=other_tenant).id


@pytest.mark.parametrize("field", ["username", "email"])
def test_at_438_of_two_requests_at_once_one_wins(app, create, scoped, actor, field):
    outcomes, barrier = [], threading.Barrier(4)

    def register(place):
        with app.app_context(), tenant_scope(scoped):
            barrier.wait()
            try:
                with transaction():
                    accounts.create_user(
                        username="ann" if field == "username" else f"ann{place}",
                        email="ann@example.org" if field == "email" else f"a{place}@example.org",
                        invite=False, actor_grants=None, actor=actor,
                    )  # fmt: skip
                outcomes.append("created")
            except IdentityTaken as refusal:
                outcomes.append(refusal.field)

    threads = [threading.Thread(target=register, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted(["created", field, field, field])


def test_at_376_roles_above_the_creator_are_refused(create, person, make_user):
    manager = make_user("manager", roles=["user_manager"])
    actor, grants = person(manager.id)
    for role in ("tenant_admin", "super_admin", "auditor"):
        with pytest.raises(Forbidden), transaction():
            accounts.create_user(
                username="puppet", email="p@example.org", roles=[role],
                actor_grants=grants, actor=actor,
            )  # fmt: skip
    assert accounts.find_by_login("puppet") is None
    with transaction():
        accounts.create_user(
            username="fine", email="f@example.org", roles=["viewer"], actor_grants=grants,
            actor=actor,
        )  # fmt: skip


def test_at_376_only_a_super_admin_makes_a_super_admin_account(create, person, make_user):
    admin = make_user("admin", roles=["tenant_admin"])
    actor, grants = person(admin.id)
    with pytest.raises(RightsExceeded), transaction():
        accounts.create_user(
            username="puppet", email="p@example.org", actor_type="super_admin",
            actor_grants=grants, actor=actor,
        )  # fmt: skip


def test_at_369_an_organization_of_another_tenant_cannot_be_attached(
    create, other_tenant, as_system
):
    foreign = new_id()
    with tenant_scope(other_tenant), transaction():
        session().add(
            IAMOrganization(
                id=foreign, tenant_id=other_tenant, type="client", name="Theirs",
                created_at=clock.now(),
            )
        )  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        create("ann", parent_id=foreign)
    assert caught.value.field == "parent_id"
    user_id = create("bob")
    with pytest.raises(InvalidInput):
        act(accounts.update_user, user_id, as_system, parent_id=str(foreign))


# -------------------------------------------------------------------- changing


def test_b6_people_change_their_names_and_nothing_else(create, actor, audit_rows):
    user_id = create("ann")
    with transaction():
        accounts.update_profile(
            accounts.get_user(user_id), actor=actor, display_name="Ann \u200bB", language="de",
            timezone="Europe/Berlin",
        )  # fmt: skip
    user = accounts.get_user(user_id)
    assert (user.display_name, user.language, user.timezone) == ("Ann B", "de", "Europe/Berlin")
    (row,) = audit_rows("PROFILE_UPDATED")
    assert row.changes["language"] == [None, "de"]
    assert "Ann" not in str(row.changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "active"), ("email_verified", True), ("phone_verified", True), ("email", "x@y.org"),
     ("tenant_id", SOME_ID), ("actor_type", "super_admin"), ("parent_id", SOME_ID),
     ("password_hash", "x"), ("authz_version", 9), ("username", "root"), ("details", {}),
     ("id", "")],
)  # fmt: skip
def test_at_105_and_at_365_a_profile_takes_no_other_field(create, actor, field, value):
    user_id = create("ann")
    with pytest.raises(InvalidInput) as caught, transaction():
        accounts.update_profile(accounts.get_user(user_id), actor=actor, **{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["status", "email_verified", "tenant_id", "password_hash"])
def test_at_365_nor_does_an_administrators_change(create, as_system, field):
    user_id = create("ann")
    with pytest.raises(InvalidInput):
        act(accounts.update_user, user_id, as_system, **{field: "x"})


@pytest.mark.parametrize(
    ("field", "value"),
    [("timezone", "Mars/Base"), ("language", "<b>"), ("display_name", "visit evil.com"),
     ("phone_number", "123"), ("email", "a@b.org, c@d.org"), ("actor_type", "god"),
     ("email", ["a@b.org", "c@d.org"]), ("parent_id", "not-an-id")],
)  # fmt: skip
def test_b6_values_that_make_no_sense_are_refused(create, as_system, field, value):
    user_id = create("ann")
    with pytest.raises(InvalidInput) as caught:
        act(accounts.update_user, user_id, as_system, **{field: value})
    assert caught.value.field == field


def test_b6_a_new_address_is_unverified_and_both_are_told(create, as_system, audit_rows):
    user_id = create("ann", email_verified=True, invite=True)
    act(accounts.update_user, user_id, as_system, email="new@example.org")
    user = accounts.get_user(user_id)
    assert (user.email, user.email_canonical, user.email_verified) == (
        "new@example.org", "new@example.org", False,
    )  # fmt: skip
    assert session().scalar(select(func.count(IAMActionToken.id))) == 0
    purposes = set(session().scalars(select(IAMOutbox.purpose)))
    assert {"email_change_old", "email_change_new"} <= purposes
    (row,) = audit_rows("USER_UPDATED")
    assert row.changes == {"email": ["a\u2026@example.org", "n\u2026@example.org"]}


def test_b1_a_username_that_is_the_address_follows_it(create, as_system):
    user_id = create("ann@example.org", email="ann@example.org")
    act(accounts.update_user, user_id, as_system, email="new@example.org")
    assert accounts.get_user(user_id).username_canonical == "new@example.org"


def test_b1_a_change_to_a_name_in_use_is_a_conflict(create, as_system):
    create("ann")
    user_id = create("bob")
    for values, field in (
        ({"username": "ANN"}, "username"),
        ({"email": "ANN@example.org"}, "email"),
    ):
        with pytest.raises(IdentityTaken) as caught:
            act(accounts.update_user, user_id, as_system, **values)
        assert caught.value.field == field
    assert accounts.get_user(user_id).username == "bob"


def test_l3_a_new_organization_makes_new_rights(create, scoped, as_system):
    home = new_id()
    with transaction():
        session().add(
            IAMOrganization(
                id=home, tenant_id=scoped, type="client", name="Home", created_at=clock.now()
            )
        )
    user_id = create("ann")
    before = accounts.get_user(user_id).authz_version
    act(accounts.update_user, user_id, as_system, parent_id=str(home))
    assert accounts.get_user(user_id).authz_version == before + 1


def test_l2_nobody_moves_themselves(create, person, make_user):
    admin = make_user("admin", roles=["tenant_admin"])
    with pytest.raises(Forbidden):
        act(accounts.update_user, admin.id, person(admin.id), actor_type="client_admin")


def test_b6_saving_without_a_change_records_nothing(create, as_system, audit_rows):
    user_id = create("ann", first_name="Ann")
    assert act(accounts.update_user, user_id, as_system, first_name="Ann", username="ann") == {}
    assert audit_rows("USER_UPDATED") == []


# -------------------------------------------------------------------- standing


def test_b4_suspending_ends_sessions_and_links_at_once(
    create, as_system, actor, audit_rows, make_user
):
    ann = make_user("ann")
    token = open_session(ann.id, actor)
    assert services_session_lookup.find(token, None) is not None
    act(accounts.suspend, ann.id, as_system, reason="Lost laptop")
    assert accounts.get_user(ann.id).status == "suspended"
    assert services_session_lookup.find(token, None) is None
    (row,) = audit_rows("USER_SUSPENDED")
    assert row.details["reason"] == "Lost laptop"
    assert row.changes == {"status": ["active", "suspended"]}
    assert "account_suspended" in set(session().scalars(select(IAMOutbox.purpose)))
    act(accounts.reactivate, ann.id, as_system, reason="Found it")
    assert accounts.get_user(ann.id).status == "active"
    assert services_session_lookup.find(token, None) is None


def test_b4_somebody_invited_comes_back_as_invited(create, as_system):
    user_id = create("ann", invite=True)
    act(accounts.suspend, user_id, as_system, reason="Wrong person")
    assert session().scalar(select(func.count(IAMActionToken.id))) == 0
    act(accounts.reactivate, user_id, as_system, reason="Right person")
    assert accounts.get_user(user_id).status == "invited"


def test_b4_disabling_ends_access(as_system, actor, make_user, audit_rows, scoped):
    ann = make_user("ann")
    token = open_session(ann.id, actor)
    act(accounts.disable, ann.id, as_system, reason="Left")
    assert accounts.get_user(ann.id).status == "disabled"
    assert services_session_lookup.find(token, None) is None
    assert len(audit_rows("USER_DISABLED")) == 1


@pytest.mark.parametrize(
    ("status", "function"),
    [("suspended", accounts.suspend), ("disabled", accounts.suspend),
     ("active", accounts.reactivate), ("disabled", accounts.disable),
     ("erased", accounts.delete_user), ("erased", accounts.suspend),
     ("erased", accounts.reactivate), ("erased", accounts.reset_factors)],
)  # fmt: skip
def test_b2_a_status_allows_only_what_makes_sense(scoped, as_system, make_user, status, function):
    ann = make_user("ann", status=status)
    with pytest.raises(AccountState):
        act(function, ann.id, as_system, reason="why not")


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "line\nbreak", "<script>"])
def test_b4_every_act_needs_a_plain_reason(scoped, as_system, make_user, reason):
    ann = make_user("ann")
    with pytest.raises(InvalidInput) as caught:
        act(accounts.suspend, ann.id, as_system, reason=reason)
    assert caught.value.field == "reason"


ACTS = [accounts.suspend, accounts.disable, accounts.delete_user, accounts.reset_factors]


@pytest.mark.parametrize("function", ACTS)
def test_b4_nobody_does_it_to_themselves(scoped, person, make_user, function):
    make_user("second", roles=["tenant_admin"])
    admin = make_user("admin", roles=["tenant_admin"])
    with pytest.raises(OwnAccount):
        act(function, admin.id, person(admin.id), reason="test")


@pytest.mark.parametrize("function", [accounts.suspend, accounts.disable, accounts.delete_user])
def test_at_380_the_last_administrator_stays(scoped, as_system, make_user, function, audit_rows):
    admin = make_user("admin", roles=["tenant_admin"])
    with pytest.raises(LastAdministrator):
        act(function, admin.id, as_system, reason="test")
    assert accounts.get_user(admin.id).status == "active"
    assert audit_rows("ROLE_CHANGE_REFUSED")
    make_user("second", roles=["tenant_admin"])
    act(function, admin.id, as_system, reason="test")


def test_at_380_two_administrators_who_suspend_each_other_leave_one(app, scoped, make_user, person):
    pair = [make_user(name, roles=["tenant_admin"]) for name in ("one", "two")]
    people = [person(item.id) for item in pair]
    session().rollback()
    outcomes, barrier = [], threading.Barrier(2)

    def attack(mine, victim):
        with app.app_context(), tenant_scope(scoped):
            barrier.wait()
            try:
                act(accounts.suspend, victim.id, people[mine], reason="coup")
                outcomes.append("done")
            except LastAdministrator:
                outcomes.append("refused")

    threads = [threading.Thread(target=attack, args=(mine, pair[1 - mine])) for mine in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "refused"]


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("user_manager", "tenant_admin"),
        ("user_manager", "super_admin"),
        ("tenant_admin", "super_admin"),
    ],
)
@pytest.mark.parametrize("function", ACTS)
def test_l2_nobody_is_administered_from_below(scoped, person, make_user, below, above, function):
    make_user("other", roles=["super_admin"])
    actor = make_user("actor", roles=[below])
    target = make_user("target", roles=[above])
    with pytest.raises(Forbidden):
        act(function, target.id, person(actor.id), reason="test")
    with pytest.raises(Forbidden):
        act(accounts.update_user, target.id, person(actor.id), email="mine@example.org")
    with pytest.raises(Forbidden):
        act(accounts.send_password_link, target.id, person(actor.id))


# --------------------------------------------------------------------- erasing


def test_b5_erasing_removes_everything_of_the_person(
    scoped, as_system, actor, make_user, audit_rows
):
    heard, _keep = seen(signals.user_deleted)
    ann = make_user(
        "ann", roles=["viewer"], mfa="totp", first_name="Ann", phone_number="+12025550123"
    )
    open_session(ann.id, actor)
    with transaction():
        at = clock.now()
        session().add_all(
            [
                IAMRecoveryCode(
                    tenant_id=scoped, user_id=ann.id, code_digest=b"x" * 32,
                    digest_key="k", created_at=at
                ),
                IAMPasswordHistory(
                    tenant_id=scoped, user_id=ann.id, password_hash="h", created_at=at
                ),
                IAMDevice(
                    tenant_id=scoped, user_id=ann.id, browser_digest=b"y" * 32, name="n",
                    browser="b", os="o", kind="k", first_seen_at=at, last_seen_at=at,
                ),
            ]
        )  # fmt: skip
        accounts.send_password_link(accounts.get_user(ann.id), actor_grants=None, actor=actor)
    before = accounts.get_user(ann.id).authz_version
    act(accounts.delete_user, ann.id, as_system, reason="Asked for it")
    session().rollback()
    user = accounts.get_user(ann.id)
    assert (user.status, user.username) == ("erased", f"erased:{ann.id}")
    assert user.authz_version > before
    for name in (
        "email", "email_canonical", "phone_number", "password_hash", "language", "timezone",
        "last_login_at", "picture_url", "parent_id",
    ):  # fmt: skip
        assert getattr(user, name) is None
    assert (user.first_name, user.last_name, user.display_name, user.details) == ("", "", "", {})
    for model in (
        IAMMfaMethod, IAMRecoveryCode, IAMDevice, IAMAuthSession, IAMUserRole,
        IAMPasswordHistory, IAMActionToken,
    ):  # fmt: skip
        query = select(func.count(model.id)).where(model.user_id == ann.id)
        assert session().scalar(query) == 0, model
    assert set(session().scalars(select(IAMOutbox.payload))) == {None}
    (row,) = audit_rows("USER_DELETED")
    assert (row.severity, row.resource_id) == ("critical", ann.id)
    assert heard == [(str(ann.id), {})]


def test_b5_the_name_and_address_of_an_erased_account_are_free_again(create, as_system):
    user_id = create("ann")
    act(accounts.delete_user, user_id, as_system, reason="test")
    assert accounts.find_by_login("ann") is None
    assert accounts.find_by_login(f"erased:{user_id}").status == "erased"
    assert create("ann") != user_id


# ----------------------------------------------------- factors, password links


def test_d8_an_administrator_resets_factors(scoped, person, make_user, audit_rows, actor):
    admin = make_user("admin", roles=["tenant_admin"])
    ann = make_user("ann", mfa="totp")
    token = open_session(ann.id, actor)
    act(accounts.reset_factors, ann.id, person(admin.id), reason="Lost phone, seen in person")
    assert not accounts.get_user(ann.id).has_active_mfa()
    assert services_session_lookup.find(token, None) is None
    (row,) = audit_rows("MFA_DISABLED")
    assert (row.severity, row.details["methods"]) == ("critical", ["totp"])
    (why,) = audit_rows("USER_FACTORS_RESET")
    assert why.details["reason"] == "Lost phone, seen in person"
    assert "factors_reset" in set(session().scalars(select(IAMOutbox.purpose)))


@pytest.mark.parametrize("status", ["suspended", "disabled", "locked", "erased"])
def test_at_102_no_link_for_an_account_that_may_not_sign_in(scoped, as_system, make_user, status):
    ann = make_user("ann", status=status)
    with pytest.raises(AccountState):
        act(accounts.send_password_link, ann.id, as_system)
    assert session().scalar(select(func.count(IAMActionToken.id))) == 0


def test_c6_a_link_is_sent_and_audited(scoped, as_system, make_user, audit_rows):
    ann = make_user("ann")
    act(accounts.send_password_link, ann.id, as_system)
    act(accounts.send_password_link, ann.id, as_system)
    assert session().scalar(select(func.count(IAMActionToken.id))) == 1
    assert {row.severity for row in audit_rows("PASSWORD_RESET")} == {"critical"}


# --------------------------------------------------------------------- listing


@pytest.fixture
def crowd(create):
    """Eleven accounts with telling names."""
    names = [("ada", "Ada", "Lovelace"), ("grace", "Grace", "Hopper"), ("al_an", "Alan", "Turing"),
             ("al%an", None, None), ("zoe", "Zo\u00eb", "\u00d6zg\u00fcr Adams")]  # fmt: skip
    for username, first, last in names:
        if first is not None:
            create(username, first_name=first, last_name=last)
    for place in range(7):
        create(f"user{place}")


def found(*args, **values):
    return [user.username for user in accounts.list_users(*args, **values).items]


def test_n2_search_matches_beginnings_of_names(crowd):
    assert found("ada", sort="name") == ["ada", "zoe"]
    assert found("LOVE") == ["ada"]
    assert found("grace hopper") == ["grace"]
    assert found("grace@exam") == ["grace"]
    assert found("zo\u00eb") == ["zoe"]
    assert found("\u00f6zg") == ["zoe"]
    assert found("opper") == []
    assert len(found("")) == 11


@pytest.mark.parametrize(
    "text",
    ["%", "_", "al%", "a_a", "!", "!%", "\\", "' OR 1=1 --", "\"; DROP TABLE iam_user_account;",
     "x') UNION SELECT password_hash", "a\x00", "x" * 10_000, "\ud800", "{{7*7}}"],
)  # fmt: skip
def test_at_442_search_text_is_only_text(crowd, text):
    names = found(text)
    assert len(names) in {0, 11}
    if len(names) == 11:
        assert text in {"a\x00", "x" * 10_000, "\ud800"}
    assert len(found("")) == 11


def test_at_442_an_underscore_is_an_underscore(crowd):
    assert found("al_") == ["al_an"]


@pytest.mark.parametrize("sort", ["username; DROP TABLE x", "password_hash", "-id", "1,2", ""])
def test_at_442_the_order_comes_from_a_list(crowd, sort):
    assert found(sort=sort) == found(sort="newest")


@pytest.mark.parametrize("sort", ["newest", "oldest", "name", "-name"])
def test_n2_pages_show_everybody_once_in_both_directions(crowd, sort):
    everybody = found(sort=sort, size=200)
    forwards, cursor, pages = [], None, []
    while True:
        page = accounts.list_users(sort=sort, cursor=cursor, size=4)
        forwards += [user.username for user in page.items]
        pages.append([user.username for user in page.items])
        if not page.next_cursor:
            break
        cursor = page.next_cursor
    assert forwards == everybody
    assert len(pages) == 3
    back = accounts.list_users(sort=sort, cursor=page.prev_cursor, size=4)
    assert [user.username for user in back.items] == pages[1]
    first = accounts.list_users(sort=sort, cursor=back.prev_cursor, size=4)
    assert [user.username for user in first.items] == pages[0]
    assert first.prev_cursor is None


def test_at_442_a_cursor_is_only_a_position(crowd, make_user, other_tenant):
    for cursor in ("x", "../../", "a" * 500, "'"):
        with pytest.raises(BadRequest):
            accounts.list_users(cursor=cursor)
    theirs = make_user("theirs", tenant_id=other_tenant)
    assert found(sort="name", cursor=encode_cursor("a", theirs.id)) == []


def test_n2_filters_by_status_and_role(crowd, scoped, make_user, as_system):
    make_user("boss", roles=["tenant_admin"])
    make_user("gone", status="suspended")
    assert found(role="tenant_admin") == ["boss"]
    assert found(status="suspended") == ["gone"]
    assert found(status="nonsense") == []
    assert found(role="x' OR '1'='1") == []


def test_n2_erased_accounts_are_listed_only_on_request(create, as_system):
    user_id = create("ann")
    act(accounts.delete_user, user_id, as_system, reason="test")
    assert found() == []
    assert found(status="erased") == [f"erased:{user_id}"]


def test_n2_counts_and_extras(scoped, make_user, other_tenant):
    ann = make_user("ann", roles=["viewer", "auditor"], mfa="totp")
    make_user("bob", status="suspended")
    make_user("theirs", tenant_id=other_tenant, mfa="totp")
    counts = accounts.count_by_status()
    assert (counts["active"], counts["suspended"], counts["erased"]) == (1, 1, 0)
    assert accounts.count_factors() == {"totp": 1}
    shown = accounts.extras([ann.id])
    assert (shown.roles[ann.id], shown.factors[ann.id]) == (["auditor", "viewer"], ["totp"])
    assert accounts.extras([]).roles == {}


def test_at_366_lists_hold_this_tenant_only(scoped, make_user, other_tenant):
    make_user("theirs", tenant_id=other_tenant)
    make_user("ours")
    for sort in ("newest", "oldest", "name", "-name"):
        assert found(sort=sort) == ["ours"]
    assert session().scalar(select(func.count(IAMUserAccount.id))) == 1
