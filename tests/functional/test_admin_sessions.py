"""Administration of sessions over HTTP (J4) and the attacks on it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import select

from app.auth.models import IAMAuthSession
from app.core.db import session
from app.core.scoping import tenant_scope
from tests.conftest import csrf_of, post


@pytest.fixture
def admin(client, make_user, sign_in):
    """Return an administrator who is signed in."""
    person = make_user("root", roles=["tenant_admin"], mfa="totp")
    sign_in(client, person)
    return person


def browser_of(app, sign_in, person):
    browser = app.test_client()
    sign_in(browser, person)
    return browser


def session_of(person, tenant):
    with tenant_scope(tenant):
        return session().scalar(
            select(IAMAuthSession.id).where(
                IAMAuthSession.user_id == person.id, IAMAuthSession.state == "active"
            )
        )


def test_j4_everybody_who_is_signed_in_is_listed(app, client, admin, make_user, sign_in):
    browser_of(app, sign_in, make_user("ann", display_name="Ann Example"))
    page = client.get("/admin/sessions").text
    assert "Ann Example" in page
    assert "Who is signed in now: 2" in page
    assert "127.0.0.1" in page


def test_j4_an_administrator_ends_a_session(
    app, client, admin, make_user, sign_in, tenant, audit_rows
):
    ann = make_user("ann")
    theirs = browser_of(app, sign_in, ann)
    url = f"/admin/sessions/{session_of(ann, tenant)}/end"
    assert post(client, url, page="/admin/sessions").status_code == 303
    assert theirs.get("/account").status_code == 303
    (row,) = audit_rows("SESSION_REVOKED")
    assert (row.actor_id, row.details["reason"]) == (admin.id, "admin")
    assert post(client, url, page="/admin/sessions").status_code == 404
    assert client.get("/admin/sessions").status_code == 200


def test_j4_an_administrator_ends_all_of_one_person(app, client, admin, make_user, sign_in):
    ann, bob = make_user("ann"), make_user("bob")
    theirs = [browser_of(app, sign_in, ann) for _ in range(2)]
    other = browser_of(app, sign_in, bob)
    page = f"/admin/users/{ann.id}"
    assert post(client, f"{page}/sessions/end", page=page).status_code == 303
    assert [browser.get("/account").status_code for browser in theirs] == [303, 303]
    assert other.get("/account").status_code == 200


def test_j4_ending_all_of_ones_own_keeps_this_one(client, admin):
    token = csrf_of(client.get("/account").text)
    url = f"/admin/users/{admin.id}/sessions/end"
    assert client.post(url, data={"csrf_token": token}).status_code == 303
    assert client.get("/admin").status_code == 200


def test_at_135_another_tenants_session_is_not_found(
    app, client, admin, make_user, sign_in, other_tenant, tenant
):
    theirs = make_user("theirs", tenant_id=other_tenant)
    with tenant_scope(other_tenant):
        from app.auth.accounts import services_accounts
        from app.auth.sessions import services_sessions
        from app.core.actor import system_actor
        from app.core.db import transaction

        with transaction():
            opened = services_sessions.open_session(
                services_accounts.get_user(theirs.id), state="active", stage="done", amr=("pwd",),
                acr="aal1", device_id=None, remember=False, next_url=None,
                actor=system_actor(other_tenant),
            )  # fmt: skip
    url = f"/admin/sessions/{opened.session_id}/end"
    assert post(client, url, page="/admin/sessions").status_code == 404
    assert "theirs" not in client.get("/admin/sessions").text
    with tenant_scope(other_tenant):
        assert services_sessions.get(opened.session_id).state == "active"


def test_at_135_nobody_ends_another_persons_session_from_their_own_page(
    app, client, make_user, sign_in, tenant
):
    ann, bob = make_user("ann"), make_user("bob")
    theirs = browser_of(app, sign_in, bob)
    sign_in(client, ann)
    url = f"/account/sessions/{session_of(bob, tenant)}/end"
    assert post(client, url, page="/account/sessions").status_code == 404
    admin_url = f"/admin/sessions/{session_of(bob, tenant)}/end"
    assert post(client, admin_url, page="/account").status_code == 403
    assert theirs.get("/account").status_code == 200


def test_l2_an_operator_does_not_sign_out_an_administrator(app, make_user, sign_in, client, tenant):
    boss = make_user("boss", roles=["tenant_admin"], mfa="totp")
    theirs = browser_of(app, sign_in, boss)
    sign_in(client, make_user("op", roles=["operator"], mfa="totp"))
    url = f"/admin/sessions/{session_of(boss, tenant)}/end"
    assert post(client, url, page="/admin/sessions").status_code == 403
    assert theirs.get("/admin").status_code == 200


def test_n2_sessions_come_in_pages(app, client, admin, make_user, sign_in, tenant):
    people = [make_user(f"p{place}") for place in range(3)]
    for person in people:
        for _ in range(9):
            browser_of(app, sign_in, person)
    page = client.get("/admin/sessions").text
    assert page.count('<th scope="row"') == 25
    following = unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])
    assert client.get(following).text.count('<th scope="row"') == 3
    assert client.get("/admin/sessions?cursor=zzz").status_code == 400


@pytest.mark.parametrize("bad", ["x", "00000000-0000-0000-0000-000000000000"])
def test_at_366_an_id_that_is_none_is_not_found(client, admin, bad):
    assert post(client, f"/admin/sessions/{bad}/end", page="/admin/sessions").status_code == 404


def test_at_149_a_browsers_name_is_only_text(app, client, admin, make_user, sign_in):
    ann = make_user("ann", display_name="Ann")
    browser = app.test_client()
    browser.environ_base["HTTP_USER_AGENT"] = "<script>alert(1)</script> Firefox/1.0"
    sign_in(browser, ann)
    assert "<script>alert" not in client.get("/admin/sessions").text
    assert "<script>alert" not in client.get(f"/admin/users/{ann.id}").text
