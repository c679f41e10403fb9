"""Whose account an identity of another service is here: found, linked, claimed, made (G3)."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from app import Hooks
from app.auth.accounts import services_accounts, services_ways_in
from app.auth.accounts.services_directory import get_user
from app.auth.accounts.username_choice import free_names
from app.auth.errors import InvalidCredentials
from app.auth.models import IAMOrganization, IAMUserAccount, IAMUserIdentity
from app.auth.sso import attributes, services_identities
from app.auth.sso.errors_sso import LinkRequired, NoAccount, SsoRefused
from app.auth.sso.services_sso_accounts import find_or_create_user
from app.auth.sso.userinfo import UserInfo
from app.core import clock
from app.core.db import session, transaction
from app.core.errors import Conflict, Forbidden
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from tests.support.mailbox import messages
from tests.support.people import load, rows_of
from tests.support.sso import add_domain, make_connection

ISSUER = "http://127.0.0.1:9/provider"
ANN = "ann@example.com"


def info(subject="s-1", **said):
    said.setdefault("email_verified", "email" in said)
    return UserInfo(issuer=ISSUER, subject=subject, **said)


@pytest.fixture
def connect(app, scoped):
    """Return a factory of connections: `connect(jit="open")`."""

    def make(slug="peer", **changes):
        return make_connection(app, "http://127.0.0.1:9", slug=slug, **changes)

    return make


@pytest.fixture
def enter(actor):
    """Return a helper that asks whose account somebody is."""

    def ask(said, connection):
        with transaction():
            return find_or_create_user(said, connection, actor=actor)

    return ask


def people():
    session().rollback()
    return session().scalar(select(func.count(IAMUserAccount.id)))


def invite(actor, **fields):
    with transaction():
        user = services_accounts.create_user(
            username="ann", email=ANN, invite=False, actor_grants=None, actor=actor, **fields
        )
    return user.id


# ---------------------------------------------------------------- made at the first sign-in


def test_g3_a_first_sign_in_makes_an_account_and_the_next_one_finds_it(connect, enter, audit_rows):
    connection = connect(jit="open")
    said = info(email="Ann.Lee@Example.COM", given_name="Ann", family_name="Lee", name="Ann Lee",
                locale="de-AT", phone_number="+12025550123")  # fmt: skip
    found = enter(said, connection)
    assert found.created is True
    user = load(found.user_id)
    assert (user.username, user.email, user.email_verified) == (
        "Ann.Lee", "Ann.Lee@example.com", True,
    )  # fmt: skip
    assert (user.first_name, user.last_name, user.display_name) == ("Ann", "Lee", "Ann Lee")
    assert (user.language, user.phone_number, user.phone_verified) == ("de", "+12025550123", False)
    assert (user.status, user.actor_type, user.password_hash) == ("active", "end_user", None)
    again = enter(info(email="other@example.com"), connection)
    assert (again.user_id, again.created) == (found.user_id, False)
    assert people() == 1
    (created,) = audit_rows("SSO_ACCOUNT_CREATED")
    assert created.details == {"connection": "peer", "provider": "oidc", "by": "sso:peer"}
    assert [row.actor_type for row in audit_rows("USER_CREATED")] == ["system"]
    (identity,) = rows_of(IAMUserIdentity)
    assert (identity.email, identity.linked_by) == ("other@example.com", "created")
    assert identity.last_login_at is not None
    assert messages() == []


@pytest.mark.parametrize("jit", ["off", "invited", "domains"])
def test_g3_nobody_gets_an_account_where_the_connection_makes_none(connect, enter, jit):
    with pytest.raises(NoAccount):
        enter(info(email=ANN), connect(jit=jit))
    assert people() == 0


def test_g3_a_verified_domain_lets_its_people_in_and_nobody_else(app, connect, enter):
    connection = connect(jit="domains")
    add_domain(app, "example.com", connection)
    add_domain(app, "unproved.example", connection, verified=False)
    assert enter(info("a", email=ANN), connection).created
    refused = [
        info("b", email="bob@sub.example.com"),
        info("c", email="bob@example.com.evil.example"),
        info("d", email="bob@unproved.example"),
        info("e", email="bob@example.com", email_verified=False),
        info("f"),
    ]
    for said in refused:
        with pytest.raises(NoAccount):
            enter(said, connection)
    assert people() == 1


def test_at_194_a_provider_has_no_word_for_people_whom_another_one_signs_in(app, connect, enter):
    own, other = connect("own", jit="open"), connect("other", jit="domains")
    add_domain(app, "example.com", own)
    with pytest.raises(NoAccount):
        enter(info(email=ANN), other)
    foreign = connect("third", jit="open")
    user = load(enter(info("x", email=ANN), foreign).user_id)
    assert (user.status, user.email_verified) == ("pending_verification", False)


def test_at_194_an_address_of_another_tenant_means_nothing_here(
    app, connect, enter, make_user, other_tenant
):
    stranger = make_user("ann", tenant_id=other_tenant)
    found = enter(info(email=ANN), connect(jit="open"))
    assert found.created
    with tenant_scope(other_tenant):
        assert rows_of(IAMUserIdentity) == []
        assert load(stranger.id).email == ANN


@pytest.mark.parametrize(
    ("role", "actor_type"),
    [("super_admin", "super_admin"), ("auditor", "end_user"), (None, "partner_admin")],
)
def test_at_194_no_provider_signs_an_administrator_in_unasked(
    app, connect, enter, make_user, role, actor_type
):
    boss = make_user("ann", roles=[role] if role else [], actor_type=actor_type)
    connection = connect(jit="open")
    add_domain(app, "example.com", connection)
    with pytest.raises(LinkRequired) as required:
        enter(info(email=ANN), connection)
    assert required.value.user_id == boss.id
    assert rows_of(IAMUserIdentity) == []


def test_at_215_an_unverified_address_waits_for_its_mailbox(connect, enter):
    user = load(enter(info(email=ANN, email_verified=False), connect(jit="open")).user_id)
    assert (user.status, user.email, user.email_verified) == ("pending_verification", ANN, False)


def test_at_214_an_unverified_address_that_somebody_has_makes_no_account(connect, enter, make_user):
    make_user("ann")
    with pytest.raises(NoAccount):
        enter(info(email=ANN, email_verified=False), connect(jit="open"))


def test_g3_an_account_without_any_address_is_made_where_all_are(connect, enter):
    user = load(enter(info(username="octocat"), connect(jit="open")).user_id)
    assert (user.username, user.email, user.status) == ("octocat", None, "active")


def test_g3_any_number_of_accounts_have_no_address(connect, enter):
    connection = connect(jit="open")
    assert enter(info("1"), connection).user_id != enter(info("2"), connection).user_id


@pytest.mark.parametrize("email", ["no address", "a@b@c", "x\r\nBcc: y@example.com"])
def test_g3_what_is_no_address_is_none(connect, enter, email):
    user = load(enter(info(username="otto", email=email), connect(jit="open")).user_id)
    assert user.email is None


@pytest.mark.parametrize(("subject", "issuer"), [("", ISSUER), ("s" * 256, ISSUER), ("s", "")])
def test_at_192_a_name_too_long_to_keep_is_refused_and_never_cut(connect, enter, subject, issuer):
    connection = connect(jit="open")
    with pytest.raises(SsoRefused):
        enter(UserInfo(issuer=issuer, subject=subject), connection)
    assert people() == 0


def test_at_192_connection_issuer_and_subject_are_one_key():
    one, two = new_id(), new_id()
    digests = {
        services_identities.identity_digest(*parts)
        for parts in [
            (one, "https://a", "b"), (one, "https://a\", \"b", ""), (two, "https://a", "b"),
            (one, "https://", "ab"), (one, "https://a", "B"),
        ]
    }  # fmt: skip
    assert len(digests) == 5


def test_at_192_a_name_or_address_that_changes_does_not_change_who_it_is(connect, enter):
    connection = connect(jit="open")
    first = enter(info("1", email=ANN, username="ann"), connection)
    renamed = enter(info("1", email="new@example.com", username="bob"), connection)
    taken_over = enter(info("2", email="bob@example.com", username="ann"), connection)
    assert renamed.user_id == first.user_id != taken_over.user_id
    assert load(first.user_id).email == ANN


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("ann.lee@example.com", "ann.lee"),
        ("müller", "müller"),
        ("o'neil+tag@example.com", "o-neil-tag"),
        ("..a b..", "a-b"),
        ("DOMAIN\\ann", "DOMAIN-ann"),
        ("<script>", "script"),
        ("аdmin", "dmin"),
    ],
)
def test_g3_a_username_is_made_by_the_rules_for_names(scoped, wish, name):
    assert free_names([wish], "00ff00ff11")[0] == name


@pytest.mark.parametrize("wish", ["", "?", "@", "....", "\u202e"])
def test_g3_where_no_wish_will_do_the_identity_names_itself(scoped, wish):
    assert free_names([wish], "00ff00ff11")[0] == "user-00ff00ff"


def test_g3_a_taken_name_gets_a_number(connect, enter, make_user):
    make_user("ann", email="first@example.com")
    make_user("Ann-2", email="second@example.com")
    user = load(enter(info(email=ANN), connect(jit="open")).user_id)
    assert user.username == "ann-3"


def test_g3_the_hosts_hook_sees_and_may_refuse_a_first_sign_in(app, connect, enter, monkeypatch):
    seen = []

    class NotHere(Hooks):
        def before_user_created(self, values):
            seen.append(dict(values))
            raise Forbidden("not here")

    monkeypatch.setattr(app.extensions["iam"], "hooks", NotHere())
    connection = connect(jit="open")
    with pytest.raises(Forbidden):
        enter(info(email=ANN), connection)
    assert seen[0]["email"] == ANN
    assert people() == 0


# ---------------------------------------------------------------- an account that is there


def test_g3_a_verified_address_that_somebody_has_asks_for_their_own_sign_in(
    connect, enter, make_user
):
    ann = make_user("ann")
    for jit in ("off", "invited", "domains", "open"):
        with pytest.raises(LinkRequired) as required:
            enter(info(email="ANN@Example.com"), connect(f"peer-{jit}", jit=jit))
        assert required.value.user_id == ann.id
    assert rows_of(IAMUserIdentity) == []


def test_g3_a_domain_of_the_connections_own_links_alone(app, connect, enter, make_user, audit_rows):
    ann = make_user("ann")
    connection = connect()
    add_domain(app, "example.com", connection)
    found = enter(info(email=ANN), connection)
    assert (found.user_id, found.created) == (ann.id, False)
    assert [row.details["reason"] for row in audit_rows("IDENTITY_LINKED")] == ["domain"]
    assert "Another way to sign in was added" in messages(ANN)[0]["subject"]
    assert "Peer" in messages(ANN)[0]["body"]


def test_g3_a_domain_links_nobody_whose_own_address_is_not_proved(app, connect, enter, make_user):
    make_user("ann", email_verified=False)
    connection = connect()
    add_domain(app, "example.com", connection)
    with pytest.raises(LinkRequired):
        enter(info(email=ANN), connection)


def test_g3_a_domain_of_no_connection_or_of_another_links_nobody(app, connect, enter, make_user):
    make_user("ann")
    connection = connect()
    add_domain(app, "example.com", connect("another"))
    with pytest.raises(NoAccount):
        enter(info(email=ANN), connection)
    assert rows_of(IAMUserIdentity) == []


def test_at_196_a_recycled_address_is_not_its_former_owner(app, connect, enter, make_user):
    connection = connect(jit="domains")
    add_domain(app, "example.com", connection)
    first = enter(info("old", email=ANN), connection)
    with pytest.raises(LinkRequired) as required:
        enter(info("new", email=ANN), connection)
    assert required.value.user_id == first.user_id
    assert len(rows_of(IAMUserIdentity)) == 1


@pytest.mark.parametrize("status", ["suspended", "locked", "disabled"])
def test_b2_an_account_that_may_not_act_is_not_entered_and_not_replaced(
    connect, enter, make_user, status
):
    make_user("ann", status=status)
    with pytest.raises(InvalidCredentials):
        enter(info(email=ANN), connect(jit="open"))
    assert people() == 1


def test_b2_an_identity_of_an_account_that_may_not_act_writes_nothing(
    connect, enter, actor, audit_rows
):
    connection = connect(jit="open")
    found = enter(info(email=ANN), connection)
    with transaction():
        services_accounts.suspend(
            load(found.user_id), reason="test", actor_grants=None, actor=actor
        )
    before = len(audit_rows())
    with pytest.raises(InvalidCredentials):
        enter(info(email="x@example.com"), connection)
    assert len(audit_rows()) == before


def test_g3_an_erased_account_takes_its_identities_along(connect, enter, actor):
    connection = connect(jit="open")
    found = enter(info(email=ANN), connection)
    with transaction():
        services_accounts.delete_user(
            load(found.user_id), reason="test", actor_grants=None, actor=actor
        )
    again = enter(info(email=ANN), connection)
    assert again.created
    assert again.user_id != found.user_id


# ---------------------------------------------------------------- invitations


@pytest.mark.parametrize("jit", ["invited", "domains", "open"])
def test_g3_an_invited_person_claims_the_account_by_a_verified_address(
    connect, enter, actor, audit_rows, jit
):
    invited = invite(actor)
    found = enter(info(email=ANN), connect(jit=jit))
    assert (found.user_id, found.created) == (invited, False)
    user = load(invited)
    assert (user.status, user.email_verified) == ("active", True)
    assert audit_rows("USER_REACTIVATED")[0].changes == {"status": ["invited", "active"]}


def test_g3_an_invitation_is_not_claimed_otherwise(connect, enter, actor):
    invited = invite(actor, roles=["auditor"])
    with pytest.raises(LinkRequired):
        enter(info(email=ANN), connect("privileged", jit="open"))
    with pytest.raises(LinkRequired):
        enter(info(email=ANN), connect("off", jit="off"))
    with pytest.raises(NoAccount):
        enter(info(email=ANN, email_verified=False), connect("unproved", jit="invited"))
    assert load(invited).status == "invited"


# ---------------------------------------------------------------- what is said of a person


def applied(connection, user_id, actor, **said):
    with transaction():
        attributes.apply(get_user(user_id), info(**said), connection, actor=actor)
    session().rollback()
    return load(user_id)


def test_g4_standard_claims_fill_what_is_empty_and_overwrite_nothing(
    connect, make_user, actor, audit_rows
):
    ann = make_user("ann", first_name="Anna")
    user = applied(connect(), ann.id, actor, given_name="A.", family_name="Lee", locale="fr-CA",
                   email="x@example.com", username="root")  # fmt: skip
    assert (user.first_name, user.last_name, user.language) == ("Anna", "Lee", "fr")
    assert (user.email, user.username, user.email_verified) == (ANN, "ann", True)
    (row,) = audit_rows("USER_UPDATED")
    assert set(row.changes) == {"last_name", "language"}
    assert row.details["by"] == "sso:peer"
    applied(connect("again"), ann.id, actor, family_name="Lee", locale="fr")
    assert len(audit_rows("USER_UPDATED")) == 1


def test_g4_a_field_the_connection_names_follows_its_claim(connect, make_user, actor):
    ann = make_user("ann", first_name="Anna", last_name="Old")
    mapping = {"last_name": "profile.surname", "first_name": "missing", "email": "mail"}
    connection = connect(attributes=mapping)
    claims = {"profile": {"surname": "New"}, "mail": "x@example.com"}
    user = applied(connection, ann.id, actor, claims=claims, given_name="No")
    assert (user.first_name, user.last_name, user.email) == ("Anna", "New", ANN)


@pytest.mark.parametrize(
    "said",
    [
        {"given_name": "http://evil.example"},
        {"family_name": "x" * 400},
        {"name": "<b>"},
        {"locale": "klingon"},
        {"phone_number": "0123"},
        {"given_name": "a\x00b"},
    ],
)
def test_g4_a_value_that_no_form_would_take_is_left_out(
    connect, make_user, actor, audit_rows, said
):
    ann = make_user("ann")
    applied(connect(), ann.id, actor, **said)
    assert audit_rows("USER_UPDATED") == []


def test_g4_a_proved_phone_number_is_not_replaced_and_none_is_proved_by_it(
    connect, make_user, actor
):
    ann, bob = make_user("ann"), make_user("bob")
    with transaction():
        user = load(ann.id)
        user.phone_number, user.phone_verified = "+12025550199", True
    connection = connect(attributes={"phone_number": "phone"})
    claims = {"phone": "+12025550123", "phone_number_verified": True}
    user = applied(connection, ann.id, actor, claims=claims)
    assert (user.phone_number, user.phone_verified) == ("+12025550199", True)
    user = applied(connection, bob.id, actor, claims=claims)
    assert (user.phone_number, user.phone_verified) == ("+12025550123", False)


@pytest.fixture
def acme(scoped, actor):
    """Return two organizations, one of them closed."""
    at = clock.now()
    with transaction():
        rows = [
            IAMOrganization(id=new_id(), type="client", name=name, status=status, created_at=at)
            for name, status in [("Acme", "active"), ("Gone", "closed")]
        ]
        session().add_all(rows)
        return rows[0].id


def test_g4_an_organization_is_found_by_name_where_the_connection_says_so(
    connect, make_user, actor, acme
):
    ann = make_user("ann")
    plain, mapped = connect(), connect("mapped", attributes={"organization": "org"})
    claims = {"org": "Acme"}
    assert applied(plain, ann.id, actor, claims=claims, organization="Acme").parent_id is None
    for name in ("acme", "Gone", "Nowhere"):
        assert applied(mapped, ann.id, actor, claims={"org": name}).parent_id is None
    assert applied(mapped, ann.id, actor, claims=claims).parent_id == acme


def test_at_215_no_organization_before_the_address_is_proved_nor_for_administrators(
    connect, make_user, actor, acme
):
    mapped = connect(attributes={"organization": "org"})
    waiting = make_user("ann", status="pending_verification", email_verified=False)
    boss = make_user("boss", roles=["auditor"])
    for person in (waiting, boss):
        assert applied(mapped, person.id, actor, claims={"org": "Acme"}).parent_id is None


# ---------------------------------------------------------------- ways in


def test_at_206_every_way_in_is_known(connect, enter, make_user):
    person = make_user("ann")
    assert services_ways_in.ways_in(load(person.id)) == {"password"}
    connection = connect(jit="open")
    user = load(enter(info("z", email="zoe@example.com"), connection).user_id)
    assert services_ways_in.ways_in(user) == {"identity"}
    (row,) = rows_of(IAMUserIdentity)
    assert services_ways_in.ways_in(user, identity_id=row.id) == set()


def test_g3_an_identity_is_one_persons(connect, enter, make_user, actor):
    ann, connection = make_user("ann"), connect(jit="open")
    enter(info("1", email="zoe@example.com"), connection)
    with pytest.raises(Conflict), transaction():
        services_identities.link(
            load(ann.id), info("1"), connection, linked_by="account", actor=actor
        )
