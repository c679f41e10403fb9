"""Invitations over HTTP (B3), and what an attacker tries with a link (AT-108 to AT-111)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.auth.accounts import services_accounts
from app.auth.invitations import services_invitations
from app.auth.invitations.services_invitations import GivenRole
from app.auth.models import IAMAuthSession, IAMInvitation, IAMUserAccount
from app.authz import services_rbac
from app.authz.errors import RightsExceeded
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.errors import InvalidInput, TooManyAttempts
from app.core.scoping import tenant_scope, unscoped
from app.tenancy import services_tenants
from app.tenancy.models import IAMTenant
from tests.conftest import PASSWORD, post
from tests.support.mailbox import link_to, messages
from tests.support.people import load

NEW = {"display_name": "Bea", "username": "bea", "password": PASSWORD, "password_confirm": PASSWORD}
BEA = "bea@example.com"
PATH = "/auth/invitation/"


@pytest.fixture
def guest(app):
    """Return the browser of whoever was invited."""
    return app.test_client()


@pytest.fixture
def invited(tenant):
    """Return a helper: invite by the system, and return the path of the link."""

    def invite(email=BEA, **more):
        with tenant_scope(tenant), transaction():
            services_invitations.invite(
                email, actor_grants=None, actor=system_actor(tenant, "tests"), **more
            )
        return link_to(email, PATH)

    return invite


@pytest.fixture
def invited_by(app, tenant):
    """Return a helper: invite in the name of a person, with the rights they have now."""

    def invite(person, email=BEA, **more):
        with tenant_scope(tenant), transaction():
            user = services_accounts.get_user(person.id)
            row = session().get(IAMTenant, tenant)
            grants = services_rbac.resolve(
                tenant,
                person.id,
                tenant_version=row.authz_version,
                user_version=user.authz_version,
                at=clock.now(),
            )
            actor = Actor("user", tenant, person.id)
            services_invitations.invite(email, actor_grants=grants, actor=actor, **more)
        return link_to(email, PATH)

    return invite


def account(email=BEA):
    with unscoped("tests look at every tenant"):
        session().rollback()
        return session().scalar(select(IAMUserAccount).where(IAMUserAccount.email == email))


def roles_of(user):
    with tenant_scope(user.tenant_id):
        return {held.role.name for held in services_rbac.roles_of(user)}


def take(tenant, person, role):
    """Take a role from somebody, as an administrator elsewhere would."""
    with tenant_scope(tenant), transaction():
        services_rbac.revoke_role(
            services_accounts.get_user(person.id),
            services_rbac.find_role(role),
            actor_grants=None,
            actor=system_actor(tenant, "tests"),
        )


# ------------------------------------------------------------------ the way it is meant


def test_b3_an_administrator_invites_and_the_person_is_in(client, admin, guest, audit_rows):
    form = {"email": BEA, "name": "Bea", "language": "", "parent_id": "", "roles": ["viewer"]}
    assert post(client, "/admin/invitations/new", form).status_code == 303
    page = client.get("/admin/invitations").text
    assert BEA in page
    assert "Waiting" in page
    link = link_to(BEA, PATH)
    shown = guest.get(link)
    assert shown.status_code == 200
    assert "You are invited to Default" in shown.text
    assert BEA in shown.text
    assert shown.headers["Referrer-Policy"] == "no-referrer"
    answer = post(guest, link, NEW)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert "Bea" in guest.get("/account").text
    user = account()
    assert (user.status, user.email_verified, user.username) == ("active", True, "bea")
    assert roles_of(user) == {"viewer"}
    (created,) = audit_rows("INVITATION_CREATED")
    (accepted,) = audit_rows("INVITATION_ACCEPTED")
    assert created.actor_id == admin.id
    assert (accepted.actor_id, accepted.resource_id) == (user.id, created.resource_id)
    assert "Accepted" in client.get("/admin/invitations").text
    (given,) = (row for row in audit_rows("ROLE_ASSIGNED") if row.resource_id == user.id)
    assert given.actor_id == admin.id


def test_b3_an_administrator_to_be_meets_the_gate(invited, guest):
    answer = post(guest, invited(roles=["tenant_admin"]), NEW)
    assert answer.headers["Location"] == "/auth/mfa/enrol"
    assert guest.get("/admin").status_code == 303
    assert account().actor_type == "tenant_admin"
    with unscoped("tests look at every tenant"):
        states = set(session().scalars(select(IAMAuthSession.state)))
    assert states == {"pending"}


def test_b3_somebody_may_come_without_a_password(invited, guest):
    link = invited()
    answer = post(guest, link, {"username": "bea", "display_name": "", "way": "passkey"})
    assert answer.headers["Location"] == "/account/security/passkey"
    assert guest.get("/account/security/passkey").status_code == 200
    assert account().password_hash is None


def test_b3_the_first_administrator_of_a_new_tenant(tenant, app):
    """What the pages of tenants call: no person behind it, in the new tenant's scope."""
    from app.authz.services_rbac import seed_catalogue

    maker = system_actor(tenant, "tests")
    with transaction():
        new = services_tenants.create_tenant("acme", "Acme", actor=maker)
        actor = system_actor(new.id, "tests")
        with tenant_scope(new.id):
            seed_catalogue(new.id, actor=actor)
            row = services_invitations.invite(
                BEA, roles=["tenant_admin"], actor_grants=None, actor=actor
            )
            assert row.tenant_id == new.id
    assert "join Acme" in messages(BEA)[0]["body"]


def test_b3_a_delegated_administrator_invites_into_their_organization_only(
    app, tenant, make_user, sign_in, scoped
):
    with transaction():
        actor = system_actor(tenant, "tests")
        mine, theirs = (
            services_tenants.create_organization(
                name, kind="client", actor_grants=None, actor=actor
            ).id
            for name in ("Mine", "Theirs")
        )
    browser = app.test_client()
    sign_in(browser, make_user("dee", roles=["client_admin"], mfa="totp", parent_id=mine))
    page = "/admin/invitations/new"
    assert "Theirs" not in browser.get(page).text
    form = {"email": BEA, "name": "", "language": "", "roles": ["viewer"]}
    assert post(browser, page, {**form, "parent_id": str(theirs)}).status_code == 422
    assert post(browser, page, {**form, "parent_id": str(mine)}).status_code == 303
    with transaction():
        other = services_invitations.invite(
            "x@example.com", parent_id=theirs, actor_grants=None, actor=actor
        ).id
    listed = browser.get("/admin/invitations").text
    assert BEA in listed
    assert "x@example.com" not in listed
    for act in ("resend", "revoke"):
        answer = post(browser, f"/admin/invitations/{other}/{act}", page=page)
        assert answer.status_code == 404


# ------------------------------------------------------------------ the link


def test_at_108_an_expired_invitation_is_refused_when_it_is_used(invited, guest, audit_rows):
    link = invited()
    guest.get(link)
    with clock.travel(timedelta(days=7, seconds=1)):
        assert guest.get(link).status_code == 404
        assert post(guest, link, NEW, page="/auth/login").status_code == 404
    assert account() is None
    assert audit_rows("INVITATION_REFUSED")[-1].details["reason"] == "expired"


def test_at_109_an_invitation_works_once(invited, guest, app, audit_rows):
    link = invited()
    assert post(guest, link, NEW).status_code == 303
    other = app.test_client()
    again = {**NEW, "username": "eve"}
    assert other.get(link).status_code == 404
    assert post(other, link, again, page="/auth/login").status_code == 404
    assert audit_rows("INVITATION_REFUSED")[-1].details["reason"] == "used"
    with unscoped("tests look at every tenant"):
        assert session().scalar(select(func.count(IAMUserAccount.id))) == 1


def test_at_109_the_address_is_the_invitations_own(invited, guest):
    link = invited()
    form = {**NEW, "email": "eve@example.org", "username": "eve@example.org"}
    assert post(guest, link, form).status_code == 422  # nor by way of the username
    assert post(guest, link, {**form, "username": "eve"}).status_code == 303
    assert account().username == "eve"
    assert account("eve@example.org") is None


def test_at_109_nobody_accepts_while_signed_in_as_somebody_else(
    invited, client, make_user, sign_in, audit_rows
):
    link = invited(roles=["editor"])
    eve = make_user("eve")
    sign_in(client, eve)
    page = client.get(link)
    assert page.status_code == 403
    assert "for somebody else" in page.text
    assert post(client, link, NEW).status_code == 403
    assert account() is None
    assert roles_of(account(eve.email)) == set()
    assert audit_rows("INVITATION_REFUSED")[-1].actor_id == eve.id
    post(client, "/auth/logout", page="/account")
    assert post(client, link, NEW).status_code == 303  # and the link still works


def test_at_110_the_roles_are_those_of_the_invitation(invited, guest):
    link = invited(roles=["viewer"])
    form = {**NEW, "roles": "tenant_admin", "actor_type": "super_admin", "parent_id": "x"}
    post(guest, link, form)
    user = account()
    assert roles_of(user) == {"viewer"}
    assert (user.actor_type, user.parent_id) == ("end_user", None)


def test_at_110_a_demoted_inviter_gives_nothing(invited_by, make_user, tenant, guest, audit_rows):
    mia = make_user("mia", roles=["tenant_admin"])
    make_user("root", roles=["tenant_admin"])
    link = invited_by(mia, roles=["tenant_admin"])
    take(tenant, mia, "tenant_admin")
    answer = post(guest, link, NEW)
    assert answer.status_code == 409
    assert "ask to be invited again" in answer.text
    assert account() is None
    assert audit_rows("INVITATION_REFUSED")


@pytest.mark.parametrize("roles", [["viewer"], []])
def test_at_110_a_suspended_inviter_invites_nobody(invited_by, make_user, tenant, guest, roles):
    mia = make_user("mia", roles=["user_manager"])
    link = invited_by(mia, roles=roles)
    with tenant_scope(tenant), transaction():
        services_accounts.get_user(mia.id).status = "suspended"
    assert post(guest, link, NEW).status_code == 409
    assert account() is None


def test_at_110_a_demoted_inviter_does_not_even_invite_without_roles(
    invited_by, make_user, tenant, guest
):
    mia = make_user("mia", roles=["user_manager"])
    link = invited_by(mia)
    take(tenant, mia, "user_manager")
    assert post(guest, link, NEW).status_code == 409
    assert account() is None


def test_at_110_nobody_invites_above_themselves(app, make_user, sign_in, invited_by):
    mia = make_user("mia", roles=["user_manager"], mfa="totp")
    for role in ("tenant_admin", "super_admin", "auditor"):
        with pytest.raises(RightsExceeded):
            invited_by(mia, roles=[role])
    browser = app.test_client()
    sign_in(browser, mia)
    page = browser.get("/admin/invitations/new").text
    assert 'value="viewer"' in page
    assert 'value="tenant_admin"' not in page
    form = {"email": BEA, "name": "", "language": "", "parent_id": "", "roles": ["tenant_admin"]}
    assert post(browser, "/admin/invitations/new", form).status_code == 422
    assert not messages(BEA)


def test_at_110_sending_again_vouches_anew(app, invited, make_user, sign_in, tenant, guest):
    """A user manager must not prolong what an administrator promised."""
    invited(roles=["tenant_admin"])
    browser = app.test_client()
    sign_in(browser, make_user("mia", roles=["user_manager"], mfa="totp"))
    with tenant_scope(tenant):
        row_id = session().scalar(select(IAMInvitation.id))
    answer = post(browser, f"/admin/invitations/{row_id}/resend", page="/admin/invitations/new")
    assert answer.status_code == 403
    assert len(messages(BEA)) == 1


def test_at_111_looking_at_the_link_accepts_nothing(invited, client):
    link = invited()
    for _look in range(3):
        assert client.get(link).status_code == 200
    assert client.head(link).status_code == 200
    assert account() is None
    assert client.post(link, data=NEW).status_code == 403  # no token of our form


def test_at_109_inviting_again_kills_the_older_link(invited, guest, tenant, audit_rows):
    first = invited(roles=["editor"])
    second = invited("BEA@example.com", roles=["viewer"])
    assert first != second
    assert guest.get(first).status_code == 404
    assert post(guest, first, NEW, page=second).status_code == 404
    assert post(guest, second, NEW).status_code == 303
    assert roles_of(account("BEA@example.com")) == {"viewer"}
    (revoked,) = audit_rows("INVITATION_REVOKED")
    assert revoked.details["reason"] == "replaced"


def test_b3_sending_again_and_taking_back(client, admin, guest, tenant, invited, audit_rows):
    first = invited(roles=["viewer"])
    with tenant_scope(tenant):
        row_id = session().scalar(select(IAMInvitation.id))
    base = f"/admin/invitations/{row_id}"
    assert post(client, f"{base}/resend", page="/admin/invitations").status_code == 303
    second = link_to(BEA, PATH)
    assert guest.get(first).status_code == 404
    assert guest.get(second).status_code == 200
    assert "Take the invitation of" in client.get(f"{base}/revoke").text
    assert guest.get(second).status_code == 200  # asking took nothing back
    assert post(client, f"{base}/revoke").status_code == 303
    assert guest.get(second).status_code == 404
    assert post(client, f"{base}/revoke").status_code == 409
    assert post(client, f"{base}/resend", page="/admin/invitations/new").status_code == 409
    assert audit_rows("INVITATION_REVOKED")[-1].details["reason"] == "taken back"
    assert audit_rows("INVITATION_SENT")[-1].actor_id == admin.id


def test_at_388_invitations_of_another_tenant_are_not_there(
    client, admin, guest, tenant, other_tenant, make_user
):
    with tenant_scope(other_tenant), transaction():
        row = services_invitations.invite(
            BEA, actor_grants=None, actor=system_actor(other_tenant, "tests")
        )
        row_id = row.id
    link = link_to(BEA, PATH)
    assert guest.get(link).status_code == 404  # at the address of the default tenant
    assert BEA not in client.get("/admin/invitations").text
    for act in ("resend", "revoke"):
        path = f"/admin/invitations/{row_id}/{act}"
        assert post(client, path, page="/admin/invitations/new").status_code == 404


def test_at_109_a_tenant_that_is_suspended_takes_nobody_in(invited, guest, tenant):
    link = invited()
    with tenant_scope(tenant), transaction():
        session().get(IAMTenant, tenant).status = "suspended"
    assert guest.get(link).status_code in {403, 404}
    assert guest.post(link, data=NEW).status_code in {403, 404}
    assert account() is None


# ------------------------------------------------------------------ an address that is here already


def test_at_011_inviting_tells_nobody_who_is_here(client, admin, make_user):
    make_user("bea")
    form = {"name": "", "language": "", "parent_id": "", "roles": ["viewer"]}
    known = post(client, "/admin/invitations/new", {**form, "email": BEA})
    unknown = post(client, "/admin/invitations/new", {**form, "email": "new@example.com"})
    assert known.status_code == unknown.status_code == 303
    subjects = {messages(to)[0]["subject"] for to in (BEA, "new@example.com")}
    assert len(subjects) == 1
    page = client.get("/admin/invitations").text
    assert len(re.findall(r">\s*Waiting\s*<", page)) == 2


def test_b3_somebody_who_is_here_signs_in_and_accepts(invited, guest, make_user, sign_in):
    bea = make_user("bea")
    link = invited(roles=["editor"])
    assert "account with your address already" in guest.get(link).text
    assert post(guest, link, {**NEW, "username": "b2"}, page="/auth/login").status_code == 200
    assert account().username == "bea"  # the link alone changes nothing of the account
    sign_in(guest, bea)
    assert "Accept the invitation" in guest.get(link).text
    assert post(guest, link).status_code == 303
    assert roles_of(account()) == {"editor"}
    assert guest.get(link).status_code == 404


def test_at_366_an_invitation_takes_nobody_out_of_another_organization(
    tenant, scoped, invited_by, make_user, guest, sign_in
):
    """A client's administrator must not give roles to other clients' people by inviting them."""
    actor = system_actor(tenant, "tests")
    with transaction():
        mine, theirs = (
            services_tenants.create_organization(
                name, kind="client", actor_grants=None, actor=actor
            ).id
            for name in ("Mine", "Theirs")
        )
    dee = make_user("dee", roles=["client_admin"], parent_id=mine)
    bea = make_user("bea", parent_id=theirs)
    link = invited_by(dee, roles=["viewer"], parent_id=mine)
    sign_in(guest, bea)
    assert post(guest, link).status_code == 409
    assert roles_of(account()) == set()
    assert load(bea.id).parent_id == theirs


@pytest.fixture
def places(tenant, scoped):
    """Return the ids of two organizations."""
    actor = system_actor(tenant, "tests")
    with transaction():
        return tuple(
            services_tenants.create_organization(
                name, kind="client", actor_grants=None, actor=actor
            ).id
            for name in ("Mine", "Theirs")
        )


@pytest.mark.parametrize("home", ["Theirs", None])
@pytest.mark.parametrize("given", ["client_admin", GivenRole("editor", "organization")])
def test_at_110_rights_by_organization_are_for_the_one_invited_to(
    places, invited, make_user, guest, sign_in, audit_rows, given, home
):
    """Else a guest of one organization administers the one that their account belongs to."""
    mine, theirs = places
    link = invited(roles=[given], parent_id=mine)
    bea = make_user("bea", parent_id=theirs if home else None)
    sign_in(guest, bea)
    answer = post(guest, link)
    assert answer.status_code == 409
    assert "Your account does not belong to the organization" in answer.text
    assert roles_of(account()) == set()
    assert audit_rows("INVITATION_REFUSED")[-1].details["reason"] == "organization"


def test_b3_rights_by_organization_are_given_to_somebody_who_belongs_there(
    places, invited, make_user, guest, sign_in
):
    mine, theirs = places
    sign_in(guest, make_user("bea", parent_id=mine))
    bound = GivenRole("editor", "organization", theirs)  # one that it names, whatever one's own
    assert post(guest, invited(roles=[bound])).status_code == 303
    assert post(guest, invited(roles=["client_admin"], parent_id=mine)).status_code == 303
    assert roles_of(account()) == {"client_admin", "editor"}


def test_k3_an_invitation_to_an_organization_that_was_closed_is_dead(
    places, tenant, invited, client, admin, guest, audit_rows
):
    mine, _theirs = places
    link = invited(roles=["viewer"], parent_id=mine)
    actor = system_actor(tenant, "tests")
    with transaction():
        row = services_tenants.get_organization(mine)
        services_tenants.close_organization(row, actor_grants=None, actor=actor)
    assert guest.get(link).status_code == 404
    assert post(guest, link, NEW, page="/auth/login").status_code == 404
    assert audit_rows("INVITATION_REFUSED")[-1].details["reason"] == "organization"
    again = f"/admin/invitations/{session().scalar(select(IAMInvitation.id))}/resend"
    assert post(client, again, page="/admin/invitations").status_code == 409
    with pytest.raises(InvalidInput):
        invited("cora@example.com", parent_id=mine)


def test_k5_no_first_administrator_beside_the_tenants_own(
    invited, make_user, guest, audit_rows, sign_in, app
):
    link = invited(roles=["tenant_admin"])
    make_user("bea", email="bea.b@example.com", roles=["tenant_admin"])
    refused = post(guest, link, {**NEW, "username": "eve"})
    assert refused.status_code == 409
    assert account() is None
    assert audit_rows("INVITATION_REFUSED")[-1].details["reason"] == "administrator"
    here = app.test_client()
    sign_in(here, make_user("eve", email=BEA))
    assert post(here, link).status_code == 409
    cora = {**NEW, "username": "cora"}
    assert post(guest, invited("c@example.com", roles=["viewer"]), cora).status_code == 303


def test_n4_the_buttons_of_each_invitation_are_named_apart(client, admin, invited):
    invited()
    page = client.get("/admin/invitations").text
    for label in ("Send again", "Take back"):
        assert f'{label}<span class="iam-hidden"> {BEA}</span>' in page


# ------------------------------------------------------------------ what is typed


@pytest.mark.parametrize(
    "email",
    ["", "bea", "bea@example.com, eve@example.org", "bea@example.com\r\nBcc: x@y.zz", "b@e@x.com"],
)
def test_at_095_an_address_is_exactly_one(invited, email):
    with pytest.raises(InvalidInput):
        invited(email)
    assert not messages()


def test_at_425_a_name_is_no_advertisement(client, admin):
    form = {"email": BEA, "language": "", "parent_id": "", "roles": []}
    answer = post(client, "/admin/invitations/new", {**form, "name": "Win at evil.com"})
    assert answer.status_code == 422
    assert not messages(BEA)


def test_at_422_nobody_is_flooded_with_invitations(invited):
    def often():
        for _time in range(50):
            invited()

    with pytest.raises(TooManyAttempts):
        often()
    assert len(messages(BEA)) < 50


@pytest.mark.parametrize(
    "given",
    [
        GivenRole("tenant_admin", "organization"),
        GivenRole("viewer", "everywhere"),
        GivenRole("viewer", "organization"),
        GivenRole("nothing"),
    ],
)
def test_l2_a_promise_fits_its_role(invited, given):
    with pytest.raises(InvalidInput):
        invited(roles=[given])


def test_b3_a_weak_password_or_a_taken_name_is_told(invited, guest, make_user):
    make_user("ann")
    link = invited()
    weak = {**NEW, "password": "bea bea bea bea", "password_confirm": "bea bea bea bea"}
    for form in (weak, {**NEW, "username": "Ann"}, {**NEW, "password_confirm": "x"},
                 {**NEW, "password": "", "password_confirm": ""}):  # fmt: skip
        assert post(guest, link, form).status_code in {409, 422}
    assert account() is None
    assert post(guest, link, NEW).status_code == 303


def test_at_093_only_a_digest_of_the_link_is_kept(invited, tenant):
    token = invited().rpartition("/")[2]
    with tenant_scope(tenant):
        row = session().scalar(select(IAMInvitation))
    assert token.encode() not in row.token_digest
    assert token not in repr(list(vars(row).values()))
