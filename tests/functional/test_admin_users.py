"""Administration of accounts over HTTP (B1-B4, D8, N1, N2) and the attacks on it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import select

from app.auth.accounts import services_accounts
from app.auth.models import IAMMfaMethod, IAMOutbox
from app.auth.recovery import services_recovery_decisions
from app.authz import services_rbac
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from tests.conftest import csrf_of, post

REASON = {"reason": "Asked for on the phone"}


@pytest.fixture
def signed(app, make_user, sign_in):
    """Return a helper: a browser in which somebody with these roles is signed in."""

    def enter(username, *roles):
        browser = app.test_client()
        sign_in(browser, make_user(username, roles=list(roles), mfa="totp"))
        return browser

    return enter


def stored(tenant, user_id):
    with tenant_scope(tenant):
        session().rollback()
        return services_accounts.get_user(user_id)


# ------------------------------------------------------------------ who may in


PAGES = ["/admin", "/admin/users", "/admin/users/new", "/admin/sessions"]


@pytest.mark.parametrize("url", PAGES)
def test_at_361_nobody_enters_without_signing_in(client, url):
    answer = client.get(url)
    assert answer.status_code == 303
    assert "/auth/login" in answer.headers["Location"]


@pytest.mark.parametrize("url", PAGES)
def test_at_361_people_without_rights_are_refused(signed, url):
    assert signed("ann", "viewer").get(url).status_code == 403


def test_l1_reading_does_not_mean_changing(signed, make_user, tenant):
    bob = make_user("bob")
    browser = signed("grace", "auditor")
    page = browser.get(f"/admin/users/{bob.id}")
    assert page.status_code == 200
    token = csrf_of(browser.get("/account").text)
    urls = [
        f"/admin/users/{bob.id}/{act}"
        for act in ("edit", "suspend", "reactivate", "disable", "delete", "reset-factors",
                    "password-link", "roles", "sessions/end", f"roles/{bob.id}/revoke")
    ] + ["/admin/users/new", "/admin/users/bulk", f"/admin/sessions/{bob.id}/end"]  # fmt: skip
    for url in urls:
        answer = browser.post(url, data={"csrf_token": token, **REASON})
        assert answer.status_code == 403, url
    assert stored(tenant, bob.id).status == "active"
    for word in ("Suspend", "Delete", "Give role", "Send reset link"):
        assert word not in page.text


def test_f1_destructive_pages_want_a_fresh_proof(app, make_user, sign_in, client):
    from datetime import timedelta

    from app.core import clock

    bob = make_user("bob")
    sign_in(client, make_user("root", roles=["tenant_admin"], mfa="totp"))
    with clock.travel(timedelta(minutes=20)):
        answer = client.get(f"/admin/users/{bob.id}/delete")
        assert answer.status_code == 303
        assert "step" in answer.headers["Location"]
        assert client.get(f"/admin/users/{bob.id}").status_code == 200


# ------------------------------------------------------------------------ list


def test_n2_the_list_searches_filters_and_pages(client, admin, make_user):
    for place in range(30):
        make_user(f"person{place:02}", first_name="Pat", last_name=f"Number{place}")
    make_user("gone", status="suspended", last_name="Gone")
    first = client.get("/admin/users").text
    assert 'rel="next"' in first
    assert len(re.findall(r"/admin/users/[0-9a-f-]{36}\"", first)) == 25
    following = unescape(re.search(r'rel="next" href="([^"]+)"', first)[1])
    assert 'rel="prev"' in client.get(following).text
    assert "Gone" in client.get("/admin/users?q=gone").text
    page = client.get("/admin/users?q=pat+number7").text
    assert "Number7" in page
    assert "Number8" not in page
    page = client.get("/admin/users?status=suspended&role=").text
    assert "Gone" in page
    assert "person01" not in page
    kept = client.get("/admin/users?q=pat&sort=name").text
    assert "q=pat" in unescape(re.search(r'rel="next" href="([^"]+)"', kept)[1])


def test_n2_an_empty_answer_says_so(client, admin):
    page = client.get("/admin/users?q=nobody-like-this").text
    assert "Nobody meets this filter" in page


@pytest.mark.parametrize(
    "query",
    ["q=%27%20OR%201%3D1--", "sort=id;DROP TABLE iam_user_account", "sort=password_hash",
     "status=%27", "role=x%27)%20UNION%20SELECT%201--", "q=%25", "q=_____", "q=\\"],
)  # fmt: skip
def test_at_442_a_query_is_only_a_query(client, admin, make_user, query):
    make_user("bob")
    answer = client.get(f"/admin/users?{query}")
    assert answer.status_code == 200
    assert client.get("/admin/users").text.count("bob@example.com") == 1


@pytest.mark.parametrize("cursor", ["x", "%27", "a" * 300, "YQ"])
def test_at_442_a_broken_cursor_is_a_400(client, admin, cursor):
    assert client.get(f"/admin/users?cursor={cursor}").status_code == 400


def test_at_387_no_page_contains_a_secret(client, admin, make_user, tenant):
    bob = make_user("bob", mfa="totp")
    post(client, f"/admin/users/{bob.id}/password-link", page=f"/admin/users/{bob.id}")
    with tenant_scope(tenant):
        hashed = stored(tenant, bob.id).password_hash
        sealed = session().scalar(select(IAMMfaMethod.secret).where(IAMMfaMethod.user_id == bob.id))
    urls = ["/admin", "/admin/users", f"/admin/users/{bob.id}", f"/admin/users/{bob.id}/edit",
            "/admin/sessions", f"/admin/users/{bob.id}/delete"]  # fmt: skip
    for url in urls:
        page = client.get(url).text
        for secret in (hashed, sealed, bob.totp_secret, "$argon2", "password/reset/", "_digest"):
            assert secret not in page, (url, secret)


def test_at_149_names_are_only_text(client, admin, make_user, tenant):
    bob = make_user("bob")
    hostile = "<script>alert(1)</script>\"'{{7*7}}"
    with tenant_scope(tenant):
        user = services_accounts.get_user(bob.id)
        # As an import or an identity provider might have stored it, past the checks of forms.
        user.display_name = user.first_name = hostile
        user.picture_url = "javascript:alert(1)"
        session().commit()
    urls = ["/admin/users", f"/admin/users/{bob.id}", f"/admin/users/{bob.id}/edit",
            f"/admin/users/{bob.id}/suspend", "/admin/sessions", "/admin"]  # fmt: skip
    for url in urls:
        answer = client.get(url)
        assert "<script>alert" not in answer.text, url
        assert "49" not in re.findall(r"alert\(1\)[^<]*", answer.text)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


# ---------------------------------------------------------------- new and edit


def test_b3_a_new_account_gets_a_link(client, admin, tenant):
    form = {"username": "new.person", "email": "New@Example.ORG", "first_name": "New",
            "actor_type": "end_user", "roles": ["viewer"]}  # fmt: skip
    answer = post(client, "/admin/users/new", form)
    assert answer.status_code == 303
    with tenant_scope(tenant):
        user = services_accounts.find_by_login("new.person")
        assert (user.status, user.email, user.password_hash) == ("invited", "New@example.org", None)
        assert session().scalar(select(IAMOutbox.purpose).where(IAMOutbox.user_id == user.id))
    page = client.get(answer.headers["Location"]).text
    assert "viewer" in page
    assert "Waiting for this person" in page


@pytest.mark.parametrize(
    ("values", "status", "field"),
    [({"username": "ROOT"}, 409, "username"), ({"email": "ROOT@example.com"}, 409, "email"),
     ({"username": ""}, 422, "username"), ({"username": "p\u0430ypal"}, 422, "username"),
     ({"email": "a@b.org,c@d.org"}, 422, "email"), ({"phone_number": "123"}, 422, "phone_number"),
     ({"first_name": "see evil.com"}, 422, "first_name"),
     ({"actor_type": "god"}, 422, "actor_type"),
     ({"roles": ["no-such-role"]}, 422, "roles"), ({"timezone": "Mars"}, 422, "timezone")],
)  # fmt: skip
def test_n1_what_is_wrong_is_said_beside_its_field(client, admin, tenant, values, status, field):
    form = {"username": "bob", "email": "bob@example.org", "actor_type": "end_user", **values}
    answer = post(client, "/admin/users/new", form)
    assert answer.status_code == status
    assert f'id="{field}-error"' in answer.text or f'"{field}-error' in answer.text
    with tenant_scope(tenant):
        assert services_accounts.find_by_login("bob") is None


def test_at_365_a_form_sets_no_field_that_it_does_not_have(client, admin, make_user, tenant):
    bob = make_user("bob", email_verified=False)
    before = stored(tenant, bob.id)
    url = f"/admin/users/{bob.id}/edit"
    answer = post(
        client, url,
        {"username": "bob", "email": "bob@example.com", "actor_type": "end_user",
         "first_name": "Bob", "status": "disabled", "email_verified": "1", "phone_verified": "1",
         "tenant_id": str(bob.id), "password_hash": "x", "is_admin": "1", "roles": "tenant_admin",
         "id": str(bob.id)},
    )  # fmt: skip
    assert answer.status_code == 303
    user = stored(tenant, bob.id)
    assert (user.first_name, user.status) == ("Bob", "active")
    assert (user.email_verified, user.phone_verified) == (False, False)
    assert (user.tenant_id, user.password_hash) == (tenant, before.password_hash)
    assert "/revoke" not in client.get(f"/admin/users/{bob.id}").text


def test_at_095_a_field_that_is_sent_twice_is_refused(client, admin):
    token = csrf_of(client.get("/admin/users/new").text)
    body = (
        f"csrf_token={token}&username=bob&actor_type=end_user"
        "&email=a%40example.org&email=b%40example.org"
    )
    answer = client.post(
        "/admin/users/new", data=body, content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code == 400


# ------------------------------------------------------------------- standing


@pytest.mark.parametrize(
    ("act", "status"),
    [("suspend", "suspended"), ("disable", "disabled"), ("delete", "erased")],
)
def test_b4_an_act_asks_wants_a_reason_and_ends_sessions(
    app, client, admin, make_user, sign_in, tenant, act, status
):
    bob = make_user("bob")
    theirs = app.test_client()
    sign_in(theirs, bob)
    url = f"/admin/users/{bob.id}/{act}"
    assert "Kept in the audit trail" in client.get(url).text
    assert stored(tenant, bob.id).status == "active"
    assert post(client, url, {"reason": ""}).status_code == 422
    assert post(client, url, {"reason": "x" * 300}).status_code == 422
    assert stored(tenant, bob.id).status == "active"
    assert post(client, url, REASON).status_code == 303
    assert stored(tenant, bob.id).status == status
    assert theirs.get("/account").status_code == 303
    assert client.get(f"/admin/users/{bob.id}").status_code == 200
    assert post(client, url, REASON).status_code == 409


def test_b4_and_back_again(client, admin, make_user, tenant):
    bob = make_user("bob", status="suspended")
    assert post(client, f"/admin/users/{bob.id}/reactivate", REASON).status_code == 303
    assert stored(tenant, bob.id).status == "active"


def test_at_380_an_administrator_cannot_lock_themselves_or_everybody_out(
    client, admin, make_user, tenant
):
    for act in ("suspend", "disable", "delete"):
        answer = post(client, f"/admin/users/{admin.id}/{act}", REASON)
        assert answer.status_code == 403
    assert stored(tenant, admin.id).status == "active"


def test_at_380_the_last_administrator_is_told_why(client, make_user, sign_in, tenant):
    boss = make_user("boss", roles=["tenant_admin"])
    other = make_user("other", roles=["super_admin"], mfa="totp")
    sign_in(client, other)
    assert post(client, f"/admin/users/{boss.id}/suspend", REASON).status_code == 303
    assert stored(tenant, other.id).status == "active"


def test_l2_nobody_is_administered_from_below(signed, make_user, tenant):
    boss = make_user("boss", roles=["tenant_admin"])
    browser = signed("manager", "user_manager")
    for act in ("suspend", "disable", "reset-factors"):
        assert post(browser, f"/admin/users/{boss.id}/{act}", REASON).status_code == 403
    values = {"username": "boss", "email": "mine@example.org", "actor_type": "end_user"}
    answer = post(browser, f"/admin/users/{boss.id}/edit", values)
    assert answer.status_code == 403
    url = f"/admin/users/{boss.id}"
    assert post(browser, f"{url}/password-link", page=url).status_code == 403
    user = stored(tenant, boss.id)
    assert (user.status, user.email) == ("active", "boss@example.com")


def test_n2_bulk_asks_first_and_one_refusal_stops_no_other(client, admin, make_user, tenant):
    ann, bob = make_user("ann"), make_user("bob")
    boss = make_user("boss", roles=["super_admin"])
    ids = [str(person.id) for person in (ann, bob, boss)]
    page = client.get("/admin/users/bulk", query_string={"action": "suspend", "ids": ids})
    assert page.status_code == 200
    assert "3 accounts" in page.text
    assert stored(tenant, ann.id).status == "active"
    data = {"action": "suspend", "ids": ids, "csrf_token": csrf_of(page.text)}
    assert client.post("/admin/users/bulk", data=data).status_code == 422
    assert client.post("/admin/users/bulk", data=data | REASON).status_code == 303
    assert {stored(tenant, person.id).status for person in (ann, bob)} == {"suspended"}
    assert stored(tenant, boss.id).status == "active"
    page = client.get("/admin/users").text
    assert "Accounts changed: 2" in page
    assert "boss:" in page


@pytest.mark.parametrize("action", ["delete", "", "__class__", "disable"])
def test_n2_bulk_knows_two_acts_only(client, admin, make_user, action):
    bob = make_user("bob")
    answer = client.get("/admin/users/bulk", query_string={"action": action, "ids": str(bob.id)})
    assert answer.status_code == 400


def test_n2_bulk_without_a_choice_says_so(client, admin):
    answer = client.get("/admin/users/bulk?action=suspend", follow_redirects=True)
    assert "Choose at least one account" in answer.text


# ------------------------------------------------------- factors, links, roles


def test_d8_factors_are_named_and_reset_but_never_read(client, admin, make_user, audit_rows):
    bob = make_user("bob", mfa="totp")
    page = client.get(f"/admin/users/{bob.id}").text
    assert "Phone" in page
    assert bob.totp_secret not in page
    answer = post(client, f"/admin/users/{bob.id}/reset-factors", REASON)
    assert answer.status_code == 303
    assert "None enrolled" in client.get(f"/admin/users/{bob.id}").text
    assert [row.severity for row in audit_rows("MFA_DISABLED")] == ["critical"]


def test_c6_a_reset_link_goes_out_and_is_not_shown(client, admin, make_user, audit_rows):
    bob = make_user("bob")
    url = f"/admin/users/{bob.id}"
    answer = post(client, f"{url}/password-link", page=url)
    assert answer.status_code == 303
    assert "token" not in answer.headers["Location"]
    assert len(audit_rows("PASSWORD_RESET")) == 1


def test_l2_roles_are_given_and_taken(client, admin, make_user, tenant):
    bob = make_user("bob")
    url = f"/admin/users/{bob.id}"
    page = client.get(url).text
    role_id = re.search(r'<option value="([0-9a-f-]{36})">auditor', page)[1]
    assert post(client, f"{url}/roles", {"role": role_id}, page=url).status_code == 303
    assert f"{url}/roles/{role_id}/revoke" in client.get(url).text
    assert post(client, f"{url}/roles/{role_id}/revoke", page=url).status_code == 303
    assert f"{url}/roles/{role_id}/revoke" not in client.get(url).text
    assert post(client, f"{url}/roles", {"role": ""}, page=url).status_code == 422


def test_at_376_a_manager_cannot_give_more_than_they_hold(signed, make_user, tenant):
    bob = make_user("bob")
    browser = signed("manager", "user_manager")
    url = f"/admin/users/{bob.id}"
    with tenant_scope(tenant):
        role_id = services_rbac.find_role("tenant_admin").id
    page = browser.get(url).text
    assert ">viewer</option>" in page
    assert ">tenant_admin</option>" not in page
    assert post(browser, f"{url}/roles", {"role": str(role_id)}, page=url).status_code == 422
    form = {"username": "eve", "email": "eve@example.org", "actor_type": "end_user",
            "roles": ["tenant_admin"]}  # fmt: skip
    assert post(browser, "/admin/users/new", form).status_code == 422


# --------------------------------------------------------------- other tenants


def test_at_366_ids_of_another_tenant_are_not_found(client, admin, make_user, other_tenant):
    theirs = make_user("theirs", tenant_id=other_tenant, roles=["viewer"])
    with tenant_scope(other_tenant):
        foreign_role = services_rbac.find_role("viewer").id
    ours = make_user("ours")
    token = csrf_of(client.get("/admin/users/new").text)
    base = f"/admin/users/{theirs.id}"
    for url in (base, f"{base}/edit", f"{base}/suspend", f"{base}/reactivate", f"{base}/disable",
                f"{base}/delete", f"{base}/reset-factors"):  # fmt: skip
        assert client.get(url).status_code == 404, url
    data = {"csrf_token": token, "role": str(foreign_role), **REASON}
    acts = ("suspend", "delete", "roles", "password-link", "sessions/end")
    revoke = f"/admin/users/{ours.id}/roles/{foreign_role}/revoke"
    for url in (*(f"{base}/{act}" for act in acts), revoke):
        assert client.post(url, data=data).status_code == 404, url
    query = {"action": "suspend", "ids": str(theirs.id)}
    assert client.get("/admin/users/bulk", query_string=query).status_code == 404
    answer = client.post(f"/admin/users/{ours.id}/roles", data=data)
    assert answer.status_code in {404, 422}
    with tenant_scope(other_tenant):
        assert services_accounts.get_user(theirs.id).status == "active"
    assert "theirs" not in client.get("/admin/users").text


@pytest.mark.parametrize("bad", ["x", "0", "00000000-0000-0000-0000-000000000000", "..%2f"])
def test_at_366_an_id_that_is_none_is_not_found(client, admin, bad):
    assert client.get(f"/admin/users/{bad}").status_code == 404


def test_at_141_a_form_without_token_changes_nothing(client, admin, make_user, tenant):
    bob = make_user("bob")
    answer = client.post(f"/admin/users/{bob.id}/suspend", data=REASON)
    assert answer.status_code == 403
    assert stored(tenant, bob.id).status == "active"


# ------------------------------------------------------------------- overview


def test_n2_the_overview_counts(client, admin, make_user):
    make_user("bob", status="suspended", mfa="totp")
    page = client.get("/admin").text
    assert "Sign-ins in the last 14 days" in page
    assert "Second factors in use" in page
    assert client.get("/admin/").status_code in {200, 308}


def test_n2_the_overview_counts_recoveries_that_wait_for_a_decision(
    client, admin, make_user, scoped, signed, actor
):
    def shown(browser):
        found = re.search(
            r'<a href="/admin/recovery">Recovery</a></p>\s*<p class="iam-stat-value">(\d+)<',
            browser.get("/admin").text,
        )
        return int(found[1]) if found else None

    bob = make_user("bob", mfa="totp")
    assert shown(client) == 0
    with transaction():
        open_for = services_recovery_decisions.open_for
        open_for(bob.id, reason="called", actor_grants=None, actor=actor)
    assert shown(client) == 1
    assert shown(signed("op", "operator")) is None


def test_n2_the_overview_of_an_operator_links_nowhere_forbidden(signed):
    browser = signed("op", "operator")
    page = browser.get("/admin").text
    for url in set(re.findall(r'href="(/admin[^"]*)"', page)):
        assert browser.get(unescape(url)).status_code == 200, url


def test_n1_navigation_marks_where_one_is(client, admin):
    for url, label in (("/admin", "Overview"), ("/admin/users", "Users"),
                       ("/admin/users/new", "Users"), ("/admin/sessions", "Sessions")):  # fmt: skip
        page = client.get(url).text
        assert re.findall(r'aria-current="page">([^<]+)<', page) == [label]


def test_j4_a_reset_of_roles_bites_at_the_next_request(app, client, admin, make_user, sign_in):
    bob = make_user("bob", roles=["auditor"], mfa="totp")
    theirs = app.test_client()
    sign_in(theirs, bob)
    assert theirs.get("/admin/users").status_code == 200
    url = f"/admin/users/{bob.id}"
    role_id = re.search(r"/roles/([0-9a-f-]{36})/revoke", client.get(url).text)[1]
    post(client, f"{url}/roles/{role_id}/revoke", page=url)
    assert theirs.get("/admin/users").status_code == 403
