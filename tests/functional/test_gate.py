"""The one gate, held to the same rules for every way in (B2, C7, D6, I1, J2; AT-010, AT-073)."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from app.auth.mfa import services_mfa_changes, services_mfa_enrol
from app.auth.models import IAMAuthSession, IAMTenant, IAMUserAccount
from app.auth.settings import AuthSettings
from app.auth.sign_in import services_gate
from app.auth.sign_in.services_gate import Shown
from app.auth.sign_in.settings_sign_in import SignInSettings
from app.core import hashing
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope, unscoped
from tests.conftest import csrf_of, post, totp_code
from tests.support.people import load
from tests.support.producers import PRODUCERS, where
from tests.support.recovery import change
from tests.support.settings import changed

LANDING, MFA, ENROL, VERIFY = "/account", "/auth/mfa/verify", "/auth/mfa/enrol", "/auth/verify"
STRICT_ON_NEW_DEVICES = {"end_user": {"mfa_on_new_device": True}}
every_producer = pytest.mark.parametrize("name", sorted(PRODUCERS))
# A passkey is both factors, and who has one has enrolled.
every_first_factor = pytest.mark.parametrize("name", sorted(set(PRODUCERS) - {"passkey"}))


@pytest.fixture(autouse=True)
def ways(app):
    """Switch every way in on."""
    with changed(app, SignInSettings, SIGN_IN_LINK_ENABLED=True, SIGN_IN_CODE_EMAIL_ENABLED=True):
        yield


@pytest.fixture
def begin(app, client):
    """Return a helper that takes a person up to the last step of a way in."""

    def go(name, person):
        return PRODUCERS[name].begin(app, client, person)

    return go


def person_for(name, make_user, **more):
    # Recovery begins where a factor is lost; a passkey is registered with the password alone.
    return make_user("ann", **({"mfa": "totp"} if name == "recovery" else {}), **more)


def live_sessions(person):
    session().rollback()
    with unscoped("tests look at every tenant"):
        states = select(IAMAuthSession.state).where(IAMAuthSession.user_id == person.id)
        return sorted(state for state in session().scalars(states) if state != "revoked")


def is_signed_in(client):
    return client.get("/account").status_code == 200


def test_the_tests_know_every_producer():
    assert set(PRODUCERS) == set(services_gate.PRODUCERS)
    with pytest.raises(ValueError, match="unknown producer"):
        Shown("carrier pigeon", ("pwd",))


@every_producer
@pytest.mark.parametrize("status", ["suspended", "locked", "disabled", "invited", "erased"])
def test_at_010_at_073_an_account_that_may_not_act_is_refused_at_the_last_step(
    app, client, make_user, begin, name, status, audit_rows
):
    person = person_for(name, make_user)
    finish = begin(name, person)
    before = live_sessions(person)
    change(person, status=status)
    answer = finish()
    assert where(client, answer) is None
    assert 400 <= answer.status_code < 500
    assert live_sessions(person) == before
    assert not is_signed_in(client)
    assert [row for row in audit_rows() if row.status in {"failure", "denied"}]


@every_producer
def test_k1_nobody_of_a_suspended_tenant_gets_in(app, client, make_user, begin, name, tenant):
    person = person_for(name, make_user)
    finish = begin(name, person)
    _set_tenant(tenant, "suspended")
    try:
        answer = finish()
        assert where(client, answer) is None
        assert 400 <= answer.status_code < 500
        assert not is_signed_in(client)
    finally:
        _set_tenant(tenant, "active")


@every_first_factor
@pytest.mark.parametrize("roles", [(), ("tenant_admin",)])
def test_at_073_an_enrolled_second_factor_is_asked_for(app, client, make_user, begin, name, roles):
    person = make_user("ann", mfa="totp", roles=list(roles))
    answer = begin(name, person)()
    assert where(client, answer) == (ENROL if name == "recovery" else MFA)
    assert not is_signed_in(client)
    if name != "recovery":
        answer = post(client, MFA, {"code": totp_code(person.totp_secret)})
        assert answer.headers["Location"] == LANDING


def test_e1_a_passkey_with_user_verification_meets_a_required_policy(app, client, make_user, begin):
    person = make_user("ann")
    finish = begin("passkey", person)
    change(person, actor_type="tenant_admin")
    assert where(client, finish()) == LANDING
    assert is_signed_in(client)


@every_first_factor
def test_at_074_a_required_factor_is_enrolled_before_anything_else(
    app, client, make_user, begin, name
):
    person = person_for(name, make_user)
    finish = begin(name, person)
    change(person, actor_type="tenant_admin")
    assert where(client, finish()) == ENROL
    assert not is_signed_in(client)
    assert client.get("/account/security").headers["Location"] == ENROL
    assert client.get(ENROL).status_code == 200


@every_producer
def test_b2_an_unverified_address_is_confirmed_first(app, client, make_user, begin, name):
    person = person_for(name, make_user)
    with changed(app, AuthSettings, EMAIL_VERIFICATION_REQUIRED=True):
        finish = begin(name, person)
        change(person, email_verified=False)
        answer = finish()
        # Links and codes go to confirmed addresses only, to the last step.
        refused = PRODUCERS[name].mailbox
        assert where(client, answer) == (None if refused else VERIFY)
        assert not is_signed_in(client)


@every_producer
def test_j2_an_address_outside_the_allow_list_is_refused_at_the_last_step(
    app, client, make_user, begin, name, audit_rows
):
    person = person_for(name, make_user)
    finish = begin(name, person)
    before = live_sessions(person).count("active")
    elsewhere = {"end_user": {"allow_networks": ["192.0.2.0/24"]}}
    with changed(app, AuthSettings, IAM_SESSION_POLICIES=elsewhere):
        answer = finish()
        assert where(client, answer) in {None, "/auth/login"}
        assert not is_signed_in(client)
    assert live_sessions(person).count("active") == before
    assert {row.subject_id for row in audit_rows("IP_REFUSED")} == {person.id}


@every_producer
def test_j2_a_new_device_is_confirmed_where_the_policy_says_so(app, client, make_user, begin, name):
    person = person_for(name, make_user)
    finish = begin(name, person)
    with changed(app, AuthSettings, IAM_SESSION_POLICIES=STRICT_ON_NEW_DEVICES):
        answer = finish()
    producer = PRODUCERS[name]
    if name == "recovery":
        assert where(client, answer) == ENROL
    elif producer.mailbox or producer.second_step:
        assert where(client, answer) == LANDING
    else:
        assert where(client, answer) == VERIFY


@every_producer
def test_at_114_every_way_in_makes_a_new_session_of_its_own(app, client, make_user, begin, name):
    person = person_for(name, make_user)
    client.set_cookie("iam_session", "planted")
    assert where(client, begin(name, person)()) is not None
    assert client.get_cookie("iam_session").value != "planted"


@pytest.mark.parametrize("name", ["password", "link", "code", "sso"])
def test_at_116_a_pending_sign_in_is_of_no_use_after_logout(app, client, make_user, begin, name):
    person = make_user("ann", mfa="totp")
    begin(name, person)()
    cookie = client.get_cookie("iam_session").value
    post(client, "/auth/logout", page=MFA)
    client.set_cookie("iam_session", cookie)
    assert client.get(MFA).headers["Location"].startswith("/auth/login")


def test_at_064_at_065_a_stage_is_of_one_person_and_one_sign_in(app, client, make_user):
    ann, bob = make_user("ann", mfa="totp"), make_user("bob", mfa="totp")
    form = {"username": "ann", "password": ann.password}
    assert post(client, "/auth/login", form).headers["Location"] == MFA
    other = app.test_client()
    assert post(other, "/auth/login", {**form, "username": "bob"}).headers["Location"] == MFA
    assert post(client, MFA, {"code": totp_code(bob.totp_secret)}).status_code == 401
    assert post(client, MFA, {"code": totp_code(ann.totp_secret)}).headers["Location"] == LANDING


@pytest.mark.parametrize("page", [ENROL, VERIFY, "/auth/password/renew"])
def test_at_061_no_stage_is_reached_but_the_one_that_is_due(app, client, make_user, page):
    person = make_user("ann", roles=["tenant_admin"], mfa="totp")
    post(client, "/auth/login", {"username": "ann", "password": person.password})
    token = csrf_of(client.get(MFA).text)
    assert client.get(page).status_code == 303
    answer = client.post(page, data={"csrf_token": token, "password": "x", "code": "123456"})
    assert answer.status_code in {303, 401, 403, 405}
    assert not is_signed_in(client)


def _set_tenant(tenant, status):
    with unscoped("the test suspends a tenant"), transaction():
        row = session().scalar(select(IAMTenant).where(IAMTenant.id == tenant))
        row.status = status


def test_the_account_is_compared_as_it_was_read(app, scoped, make_user):
    """What changes between reading and admitting refuses the sign-in (AT-459)."""
    from app.auth.sign_in import services_login_rows as rows
    from app.core import clock

    person = make_user("ann")
    for column, value in (
        ("password_hash", "changed"), ("authz_version", 99), ("status", "suspended"),
    ):  # fmt: skip
        account, _device = rows.find("ann", b"x" * 32)
        with transaction():
            assert rows.admit(account, clock.now())
        change(person, **{column: value})
        with transaction():
            assert not rows.admit(account, clock.now())
            assert not rows.hold(account)
    with unscoped("tests look at every tenant"):
        assert session().scalar(select(IAMUserAccount.last_login_at)) is not None


@pytest.mark.parametrize("change_of_factors", ["all are lost", "the first is enrolled"])
def test_at_453_a_sign_in_under_way_does_not_outlive_a_change_of_factors(
    app, client, make_user, tenant, monkeypatch, change_of_factors
):
    """What the gate is about to decide by is read before the hash, and compared after it."""
    lost = change_of_factors == "all are lost"
    person = make_user("ann", mfa="totp" if lost else None)
    meanwhile = _lose_factors if lost else _enrol_totp
    verify = hashing.PasswordHasher.verify

    def slow(self, *arguments):
        found = verify(self, *arguments)
        monkeypatch.setattr(hashing.PasswordHasher, "verify", verify)
        worker = threading.Thread(target=meanwhile, args=(app, tenant, person))
        worker.start()
        worker.join()
        return found

    monkeypatch.setattr(hashing.PasswordHasher, "verify", slow)
    form = {"username": "ann", "password": person.password}
    assert post(client, "/auth/login", form).status_code == 401
    assert not is_signed_in(client)
    assert post(client, "/auth/login", form).headers["Location"] == (VERIFY if lost else MFA)


def _lose_factors(app, tenant, person):
    with app.app_context(), tenant_scope(tenant), transaction():
        services_mfa_changes.reset_factors(load(person.id), actor=system_actor(tenant))


def _enrol_totp(app, tenant, person):
    actor = system_actor(tenant)
    with app.app_context(), tenant_scope(tenant):
        with transaction():
            row = services_mfa_enrol.begin_totp(load(person.id), session_id=None, actor=actor)
            setup = services_mfa_enrol.totp_setup(load(person.id), row, session_id=None)
        attempt = services_mfa_enrol.begin_confirmation(
            load(person.id), "totp", totp_code(setup.secret), session_id=None, actor=actor
        )
        with transaction():
            services_mfa_enrol.confirm(load(person.id), attempt, actor=actor)
