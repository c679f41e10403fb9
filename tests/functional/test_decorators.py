"""The decorators as a host uses them: functions, class-based views, blueprints (L1, F1)."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from flask import Blueprint, jsonify, render_template_string
from flask.views import MethodView

from app import (
    Purpose,
    current_user,
    guard,
    register_purpose,
    requires_login,
    requires_mfa,
    requires_parent,
    requires_permission,
    requires_permission_somewhere,
    requires_role,
    requires_step_up,
    requires_tenant,
)
from app.auth.accounts import services_directory
from app.auth.purposes import purposes
from app.authz import services_rbac
from app.core import clock
from app.core.db import transaction
from app.core.scoping import tenant_scope
from app.tenancy import services_tenants
from tests.conftest import make_app, post, totp_code

JSON = {"Accept": "application/json"}

if "payments.release" not in purposes:
    register_purpose(Purpose("payments.release", "release a payment", accepts_sign_in=False))


@pytest.fixture
def host(app, database_url):
    """Return an app with views of a host's own."""
    found = make_app(database_url)

    @found.get("/h/login")
    @requires_login
    def login():
        return jsonify(user=current_user.username)

    @found.get("/h/role")
    @requires_role("editor", "operator")
    def role():
        return "ok"

    @found.get("/h/permission")
    @requires_permission("user:read")
    def permission():
        return "ok"

    @found.get("/h/somewhere")
    @requires_permission_somewhere("user:read")
    def somewhere():
        return render_template_string("{{ 'yes' if reaches('user:read') else 'no' }}")

    @found.get("/h/mfa")
    @requires_mfa
    def mfa():
        return "ok"

    @found.route("/h/step", methods=["GET", "POST"])
    @requires_step_up("payments.release")
    def step():
        return "ok"

    @found.get("/h/tenant/<uuid:tenant_id>")
    @requires_tenant
    def tenant(tenant_id):
        return "ok"

    @found.get("/h/parent/<uuid:parent_id>")
    @requires_parent
    def parent(parent_id):
        return "ok"

    @found.get("/h/can")
    @requires_login
    def can_page():
        return render_template_string("{{ 'yes' if can('user:read') else 'no' }}")

    @requires_role("editor")
    class Documents(MethodView):
        def get(self):
            return "read"

        @requires_permission("user:delete")
        def delete(self):
            return "deleted"

    found.add_url_rule("/h/documents", view_func=Documents.as_view("documents"))
    area = Blueprint("area", __name__, url_prefix="/h/area")
    guard(area, requires_role("editor"))
    area.add_url_rule("/", "index", lambda: "inside")
    found.register_blueprint(area)
    yield found
    with found.app_context():
        found.extensions["sqlalchemy"].engine.dispose()


@pytest.fixture
def browser(host):
    return host.test_client()


def test_l1_nobody_signed_in_is_sent_to_sign_in_or_told_in_json(browser):
    page = browser.get("/h/login?x=1")
    assert page.status_code == 303
    assert page.headers["Location"] == "/auth/login?next=/h/login?x%3D1"
    answer = browser.get("/h/login", headers=JSON)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert answer.json["type"] == "urn:iam:auth.required"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/h/role", "/h/permission", "/h/somewhere", "/h/documents", "/h/area/"]
)
def test_l1_a_person_without_the_right_gets_403(browser, make_user, sign_in, path, audit_rows):
    sign_in(browser, make_user("ann"))
    assert browser.get(path).status_code == 403
    answer = browser.get(path, headers=JSON)
    assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
    assert audit_rows("ACCESS_DENIED")


@pytest.mark.parametrize("path", ["/h/role", "/h/documents", "/h/area/"])
def test_l1_a_person_with_the_role_enters(browser, make_user, sign_in, path):
    sign_in(browser, make_user("ann", roles=["editor"]))
    assert browser.get(path).status_code == 200


def test_k4_a_right_by_organization_opens_only_what_narrows_itself(
    browser, make_user, sign_in, tenant, actor
):
    with tenant_scope(tenant), transaction():
        place = services_tenants.create_organization(
            "Here", kind="client", actor_grants=None, actor=actor
        ).id
    sign_in(browser, make_user("ann", roles=["client_admin"], parent_id=place, mfa="totp"))
    assert browser.get("/h/somewhere").text == "yes"
    assert browser.get("/h/permission").status_code == 403


def test_k4_a_right_over_oneself_opens_no_page_of_others(browser, make_user, sign_in):
    sign_in(browser, make_user("ann", roles=["viewer"]))
    assert browser.get("/h/somewhere").status_code == 403


def test_l1_a_method_of_a_class_may_ask_for_more(browser, make_user, sign_in):
    sign_in(browser, make_user("ann", roles=["editor"]))
    assert browser.get("/h/documents").status_code == 200
    assert browser.delete("/h/documents").status_code == 403


def test_at_123_a_role_taken_away_bites_at_the_next_request(
    browser, make_user, sign_in, tenant, actor
):
    person = make_user("ann", roles=["editor"])
    sign_in(browser, person)
    assert browser.get("/h/role").status_code == 200
    with tenant_scope(tenant), transaction():
        user = services_directory.get_user(person.id)
        role = services_rbac.find_role("editor")
        services_rbac.revoke_role(user, role, actor_grants=None, actor=actor)
    assert browser.get("/h/role").status_code == 403


def test_l1_mfa_is_asked_for_where_the_session_has_none(browser, make_user, sign_in):
    sign_in(browser, make_user("ann"))
    answer = browser.get("/h/mfa")
    assert answer.headers["Location"].startswith("/auth/step-up?purpose=mfa&next=/h/mfa")
    api = browser.get("/h/mfa", headers=JSON)
    assert api.status_code == 401
    assert "insufficient_user_authentication" in api.headers["WWW-Authenticate"]
    assert 'acr_values="aal2"' in api.headers["WWW-Authenticate"]


def test_f1_step_up_leads_to_the_challenge_and_back(browser, make_user, sign_in):
    person = make_user("ann", mfa="totp")
    sign_in(browser, person)
    assert browser.get("/h/mfa").status_code == 200
    answer = browser.get("/h/step")
    assert answer.status_code == 303
    with clock.travel(timedelta(seconds=31)):
        asked = browser.get(answer.headers["Location"]).headers["Location"]
        sent = {"purpose": "payments.release", "next": "/h/step"}
        done = post(browser, asked, {"code": totp_code(person.totp_secret), **sent})
        assert done.headers["Location"] == "/h/step"
        assert browser.get("/h/step").status_code == 200
    with clock.travel(timedelta(minutes=12)):
        assert browser.get("/h/step").status_code == 303


def test_l1_who_has_no_second_step_is_led_to_one_and_back(browser, make_user, sign_in):
    sign_in(browser, make_user("ann"))
    asked = browser.get(browser.get("/h/mfa").headers["Location"])
    assert asked.headers["Location"] == "/account/security?next=/h/mfa"
    page = browser.get(asked.headers["Location"]).text
    assert "This needs a second step. Please add one." in page
    assert 'href="/account/security/passkey?next=/h/mfa"' in page
    place = "/account/security/totp?next=/h/mfa"
    assert f'href="{place}"' in page
    assert post(browser, place, {"action": "start"}).headers["Location"] == place
    (secret,) = re.findall(r'data-copy-text="(\w+)"', browser.get(place).text)
    codes = post(browser, place, {"code": totp_code(secret)})
    assert 'name="next" type="hidden" value="/h/mfa"' in codes.text
    assert browser.get("/h/mfa").status_code == 200


def test_l1_an_enrolment_leads_to_no_other_site(browser, make_user, sign_in):
    sign_in(browser, make_user("ann"))
    for evil in ("https://evil.example", "//evil.example", "/%5Cevil.example"):
        for path in ("/account/security", "/account/security/passkey", "/account/security/totp"):
            assert "evil" not in browser.get(path, query_string={"next": evil}).text


def test_at_079_step_up_for_one_purpose_does_not_serve_another(browser, make_user, sign_in):
    person = make_user("ann", mfa="totp")
    sign_in(browser, person)
    with clock.travel(timedelta(minutes=11)):
        page = "/auth/mfa/verify?purpose=account.security&next=/account/security"
        sent = {"purpose": "account.security", "code": totp_code(person.totp_secret)}
        done = post(browser, page, sent)
        assert done.status_code == 303
        assert browser.get("/h/step").status_code == 303


def test_l1_tenant_and_parent_are_compared(browser, make_user, sign_in, tenant, actor):
    with tenant_scope(tenant), transaction():
        home = services_tenants.create_organization(
            "Home", kind="client", actor_grants=None, actor=actor
        ).id
    sign_in(browser, make_user("ann", parent_id=home))
    assert browser.get(f"/h/tenant/{tenant}").status_code == 200
    assert browser.get(f"/h/tenant/{uuid4()}").status_code == 404
    assert browser.get(f"/h/parent/{home}").status_code == 200
    assert browser.get(f"/h/parent/{uuid4()}").status_code == 404


def test_l1_templates_ask_what_a_person_can(browser, make_user, sign_in):
    sign_in(browser, make_user("ann"))
    assert browser.get("/h/can").text == "no"


def test_at_385_a_guarded_twin_is_not_reached_by_another_spelling(browser, make_user, sign_in):
    sign_in(browser, make_user("ann"))
    for path in ("/h//role", "/h/role/", "/H/role", "/h/%2e/role", "/h/role.json", "/h/rol%65"):
        assert browser.get(path).status_code in {403, 404, 308}, path
