"""Server-side sessions (J1, J2, J4), cookies, CSRF and liveness, over HTTP."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import event, update

from app.auth.accounts.services_directory import get_user
from app.auth.models import IAMAuthSession, IAMUserAccount
from app.auth.sessions import services_sessions
from app.authz import services_rbac
from app.core import clock
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from tests.conftest import ENGINE, PASSWORD, csrf_of, post

REPEATABLE = {"mysql": "REPEATABLE READ", "sqlite": "SERIALIZABLE"}


def change_user(person, tenant, **values):
    with tenant_scope(tenant), transaction():
        session().execute(
            update(IAMUserAccount).where(IAMUserAccount.id == person.id).values(**values)
        )


def test_at_124_the_server_enforces_the_idle_timeout(client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    with clock.travel(timedelta(minutes=29)):
        assert client.get("/account").status_code == 200
    with clock.travel(timedelta(minutes=58)):
        assert client.get("/account").status_code == 200
    with clock.travel(timedelta(minutes=89)):
        assert client.get("/account").status_code == 303


def test_at_124_the_server_enforces_the_absolute_timeout(client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    for minutes in range(0, 24 * 60, 25):
        with clock.travel(timedelta(minutes=minutes)):
            assert client.get("/account").status_code == 200
    with clock.travel(timedelta(hours=24, seconds=1)):
        assert client.get("/account").status_code == 303


def test_at_125_static_files_and_health_do_not_keep_a_session_alive(client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    for minutes in (10, 20, 29):
        with clock.travel(timedelta(minutes=minutes)):
            client.get("/iam-static/iam.css").close()
            client.get("/healthz")
    with clock.travel(timedelta(minutes=31)):
        assert client.get("/account").status_code == 303


@pytest.mark.parametrize("status", ["suspended", "disabled", "locked", "erased"])
def test_at_120_a_status_change_bites_at_the_next_request(
    client, make_user, sign_in, tenant, status
):
    person = make_user("ann")
    sign_in(client, person)
    change_user(person, tenant, status=status)
    assert client.get("/account").status_code == 303


def test_at_115_a_session_id_in_url_or_header_is_ignored(app, client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    token = client.get_cookie("iam_session").value
    other = app.test_client()
    assert other.get(f"/account?iam_session={token}").status_code == 303
    assert other.get("/account", headers={"X-Session": token}).status_code == 303
    answer = other.get("/account", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_at_135_another_persons_session_is_not_found(app, client, make_user, sign_in, tenant):
    ann, bob = make_user("ann"), make_user("bob")
    sign_in(client, ann)
    other = app.test_client()
    sign_in(other, bob)
    with tenant_scope(tenant):
        rows = session().query(IAMAuthSession).filter_by(user_id=bob.id).all()
    answer = post(client, f"/account/sessions/{rows[0].id}/end", page="/account/sessions")
    assert answer.status_code == 404
    assert other.get("/account").status_code == 200


def test_j4_a_person_ends_one_session_and_all_others(app, client, make_user, sign_in, tenant):
    person = make_user("ann")
    browsers = [app.test_client() for _ in range(3)]
    for browser in browsers:
        sign_in(browser, person)
    sign_in(client, person)
    with tenant_scope(tenant):
        rows = session().query(IAMAuthSession).order_by(IAMAuthSession.id).all()
    post(client, f"/account/sessions/{rows[0].id}/end", page="/account/sessions")
    assert [browser.get("/account").status_code for browser in browsers] == [303, 200, 200]
    post(client, "/account/sessions/end-others", page="/account/sessions")
    assert [browser.get("/account").status_code for browser in browsers] == [303, 303, 303]
    assert client.get("/account").status_code == 200


def test_j2_the_oldest_session_ends_at_the_limit(app, make_user, sign_in, audit_rows):
    person = make_user("ann")
    browsers = [app.test_client() for _ in range(11)]
    for browser in browsers:
        sign_in(browser, person)
    codes = [browser.get("/account").status_code for browser in browsers]
    assert codes == [303] + [200] * 10
    assert audit_rows("SESSION_LIMIT_REACHED")


def test_at_127_secure_cookies_carry_the_host_prefix(app, client, make_user, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_COOKIE_SECURE", True)
    make_user("ann")
    page = client.get("/auth/login", base_url="https://localhost")
    answer = client.post(
        "/auth/login",
        base_url="https://localhost",
        data={"username": "ann", "password": PASSWORD, "csrf_token": csrf_of(page.text)},
    )
    cookies = [*page.headers.getlist("Set-Cookie"), *answer.headers.getlist("Set-Cookie")]
    ours = [value for value in cookies if "iam_session" in value or "iam_device" in value]
    assert len(ours) == 3  # a device, its next generation, a session
    for value in ours:
        assert value.startswith("__Host-")
        assert all(part in value for part in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"))
        assert "Domain" not in value
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_at_128_a_nameless_cookie_is_no_prefixed_cookie(app, client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    token = client.get_cookie("iam_session").value
    other = app.test_client(use_cookies=False)  # one that keeps cookies drops the header
    assert other.get("/account", headers={"Cookie": f"iam_session={token}"}).status_code == 200
    answer = other.get("/account", headers={"Cookie": f"=iam_session={token}"})
    assert answer.status_code == 303


def test_j1_only_a_digest_of_the_session_token_is_stored(app, client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    token = client.get_cookie("iam_session").value
    assert len(token) == 43
    with app.extensions["sqlalchemy"].engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM iam_auth_session").all()
    assert token not in repr(rows)


def test_at_139_a_token_from_before_the_sign_in_is_stale(client, make_user, sign_in):
    stale = csrf_of(client.get("/auth/login").text)
    sign_in(client, make_user("ann"))
    answer = client.post("/account", data={"display_name": "X", "csrf_token": stale})
    assert answer.status_code == 403


def test_at_139_a_foreign_token_is_refused(app, client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    other = app.test_client()
    sign_in(other, make_user("bob"))
    foreign = csrf_of(other.get("/account").text)
    answer = client.post("/account", data={"display_name": "X", "csrf_token": foreign})
    assert answer.status_code == 403


def test_at_144_a_planted_flask_session_does_not_help(app, client, make_user, sign_in):
    attacker = app.test_client()
    token = csrf_of(attacker.get("/auth/login").text)
    planted = attacker.get_cookie("iam_flask").value
    sign_in(client, make_user("ann"))
    client.set_cookie("iam_flask", planted)
    answer = client.post("/account", data={"display_name": "X", "csrf_token": token})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_at_139_another_origin_is_refused_even_with_a_token(client, make_user, sign_in, headers):
    sign_in(client, make_user("ann"))
    token = csrf_of(client.get("/account").text)
    answer = client.post("/account", data={"csrf_token": token}, headers=headers)
    assert answer.status_code == 403


def test_l3_an_authenticated_request_costs_one_query(app, client, make_user, sign_in):
    sign_in(client, make_user("ann", roles=["viewer"]))
    client.get("/account/security/password")
    statements = []
    engine = app.extensions["sqlalchemy"].engine

    @event.listens_for(engine, "before_cursor_execute")
    def count(_conn, _cursor, statement, *_rest):
        statements.append(statement)

    try:
        client.get("/auth/login")  # sends a signed-in person on: the look-up and nothing else
    finally:
        event.remove(engine, "before_cursor_execute", count)
    selects = [text for text in statements if text.lstrip().upper().startswith("SELECT")]
    assert len(selects) == 1, statements


def test_at_061_a_role_that_demands_a_factor_does_not_work_in_a_password_only_session(
    client, make_user, sign_in, tenant, actor
):
    person = make_user("ann")
    sign_in(client, person)
    with tenant_scope(tenant), transaction():
        user = get_user(person.id)
        role = services_rbac.find_role("auditor")
        services_rbac.assign_role(user, role, actor_grants=None, actor=actor)
    assert client.get("/admin/audit/logs").status_code == 303
    assert client.get("/account").status_code == 303
    answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.headers["Location"] == "/auth/mfa/enrol"


def test_at_459_every_session_ends_even_one_the_transaction_has_not_seen(
    app, client, make_user, sign_in, tenant, actor
):
    person = make_user("ann")
    with tenant_scope(tenant):
        session().rollback()
        session().connection(execution_options={"isolation_level": REPEATABLE[ENGINE]})
        assert services_sessions.list_live(person.id) == []  # the snapshot begins here
        late = threading.Thread(target=lambda: sign_in(app.test_client(), person))
        late.start()
        late.join()
        if ENGINE == "sqlite":  # a writer cannot go on from an old snapshot here
            session().rollback()
        services_sessions.revoke_all(person.id, "password_reset", actor=actor)
        session().commit()
        session().rollback()
        assert services_sessions.list_live(person.id) == []
