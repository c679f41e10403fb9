"""Passkeys and security keys over HTTP: registered, used alone, as second step (E1, E2, F1).

Every lie of the software authenticator is refused, leaves no session and one event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audit.models import IAMAuthLog
from app.auth.mfa import services_mfa_changes
from app.auth.mfa.settings_mfa import MfaSettings
from app.auth.models import (
    IAMAuthSession,
    IAMMfaMethod,
    IAMUserAccount,
    IAMWebauthnChallenge,
    IAMWebauthnCredential,
)
from app.auth.purposes import Purpose, purposes
from app.auth.webauthn.settings_webauthn import WebauthnSettings
from app.auth.webauthn.webauthn_parsing import credential_digest, decode, encode
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope, unscoped
from app.notify import services_outbox
from app.tenancy import services_settings
from tests.bench.measure import statements
from tests.conftest import Someone, csrf_of, post, totp_code
from tests.support.authenticator import (
    AAGUID,
    BE,
    BS,
    UP,
    UV,
    Authenticator,
    Maker,
    by_itself,
    new_key,
    none,
)
from tests.support.passkeys import (
    HOME,
    confirm,
    options,
    register,
    send,
    token_of,
)
from tests.support.passkeys import (
    sign_in as sign_in_by_key,
)
from tests.support.people import add_key, load
from tests.support.settings import changed

Answer = Any
Make = Callable[..., Someone]
SECURITY = "account.security"
STALE = timedelta(minutes=11)
REFUSED = "That passkey was not accepted. Please try again, or use another way."


def rows(model: Any, *where: Any) -> list[Any]:
    with unscoped("tests look at every tenant"):
        session().rollback()
        return list(session().scalars(sa.select(model).where(*where).order_by(model.id)))


def is_signed_in(client: FlaskClient) -> bool:
    return bool(client.get("/account").status_code == 200)


def mails() -> list[str]:
    return [item["subject"] for item in services_outbox.list_recent(50)]


def key_of(device: Authenticator) -> IAMWebauthnCredential:
    digest = credential_digest(device.key.credential_id)
    [row] = rows(IAMWebauthnCredential, IAMWebauthnCredential.credential_digest == digest)
    return row


def change_key(device: Authenticator, **values: Any) -> None:
    digest = credential_digest(device.key.credential_id)
    with unscoped("a test"), transaction():
        session().execute(
            sa.update(IAMWebauthnCredential)
            .where(IAMWebauthnCredential.credential_digest == digest)
            .values(**values)
        )


def problem_of(answer: Answer) -> dict[str, Any]:
    assert answer.content_type == "application/problem+json", answer.text[:500]
    found: dict[str, Any] = answer.get_json()
    assert found["status"] == answer.status_code
    return found


@pytest.fixture
def ann(make_user: Make) -> Someone:
    """Return a person without a second factor."""
    return make_user("ann")


@pytest.fixture
def device() -> Authenticator:
    """Return an authenticator without keys."""
    return Authenticator()


@pytest.fixture
def keyed(ann: Someone, device: Authenticator, tenant: UUID, actor: Actor) -> Authenticator:
    """Return an authenticator that holds a key of Ann's."""
    with tenant_scope(tenant):
        add_key(load(ann.id), device, actor)
    return device


@pytest.fixture
def signed_in(client: FlaskClient, ann: Someone, sign_in: Any) -> FlaskClient:
    """Return a browser in which Ann has just signed in by her password."""
    sign_in(client, ann)
    return client


@pytest.fixture
def pending(client: FlaskClient, ann: Someone, keyed: Authenticator) -> FlaskClient:
    """Return a browser in which Ann has given her password, and must use her key."""
    answer = post(client, "/auth/login", {"username": "ann", "password": ann.password})
    assert answer.headers["Location"] == "/auth/mfa/verify"
    return client


@pytest.fixture
def news(audit_rows: Any) -> Callable[[], list[IAMAuthLog]]:
    """Return what lists the events since the test last asked."""
    seen = {"count": 0}

    def fresh() -> list[IAMAuthLog]:
        found = audit_rows()
        new, seen["count"] = found[seen["count"] :], len(found)
        return new

    return fresh


# --------------------------------------------------------------- registration


def test_e1_a_key_is_registered_named_and_listed(
    signed_in: FlaskClient, ann: Someone, device: Authenticator
) -> None:
    answer = register(signed_in, device, "Blue key")
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["next"] == "/account/security"
    [method] = rows(IAMMfaMethod)
    assert (method.method, method.name, method.user_id) == ("webauthn", "Blue key", ann.id)
    assert method.confirmed_at is not None
    row = key_of(device)
    assert (row.mfa_method_id, row.user_id, row.algorithm) == (method.id, ann.id, -7)
    assert (row.aaguid, row.transports, row.discoverable) == (AAGUID, ["usb", "nfc"], True)
    assert (row.user_verified, row.backup_eligible, row.backup_state) == (True, False, False)
    assert (row.attestation_format, row.attestation_trusted) == ("none", False)
    page = signed_in.get("/account/security").text
    assert "Blue key" in page
    assert "YubiKey 5" in page


def test_e1_a_synced_key_is_shown_as_such_and_named_for_its_model(
    signed_in: FlaskClient,
) -> None:
    cloud = Authenticator(
        synced=True, counts=0, aaguid=UUID("bada5566-a7aa-401f-bd96-45619a55120d")
    )
    assert register(signed_in, cloud, transports=["internal", "hybrid"]).status_code == 200
    assert [row.name for row in rows(IAMMfaMethod)] == ["1Password"]
    row = key_of(cloud)
    assert (row.backup_eligible, row.backup_state) == (True, True)
    assert register(signed_in, Authenticator(aaguid=UUID(int=0))).status_code == 200
    assert [row.name for row in rows(IAMMfaMethod)] == ["1Password", "Security key"]


def test_at_268_the_options_say_what_is_wanted_and_nothing_personal(
    signed_in: FlaskClient, ann: Someone, device: Authenticator
) -> None:
    asked = options(signed_in, "register/options")
    handle = decode(asked["user"]["id"])
    assert len(handle) == 64
    assert ann.id.bytes not in handle
    assert b"ann" not in handle
    assert asked["rp"] == {"id": "localhost", "name": "Identity"}
    assert len(decode(asked["challenge"])) == 32
    assert [item["alg"] for item in asked["pubKeyCredParams"]] == [-8, -7, -35, -36, -37, -257]
    assert asked["excludeCredentials"] == []
    assert asked["authenticatorSelection"] == {
        "residentKey": "preferred",
        "requireResidentKey": False,
        "userVerification": "preferred",
    }
    assert (asked["attestation"], asked["timeout"]) == ("none", 300_000)
    again = options(signed_in, "register/options")
    assert again["user"]["id"] == asked["user"]["id"]
    assert again["challenge"] != asked["challenge"]
    [account] = rows(IAMUserAccount, IAMUserAccount.id == ann.id)
    assert account.webauthn_handle == handle


def test_e2_keys_that_exist_are_excluded(signed_in: FlaskClient, device: Authenticator) -> None:
    register(signed_in, device)
    asked = options(signed_in, "register/options")
    assert asked["excludeCredentials"] == [
        {
            "type": "public-key",
            "id": encode(device.key.credential_id),
            "transports": ["usb", "nfc"],
        }
    ]


@pytest.mark.parametrize("algorithm", [-8, -7, -35, -36, -37, -257])
def test_e2_every_algorithm_offered_registers_and_signs_in(
    signed_in: FlaskClient, app: Flask, algorithm: int
) -> None:
    device = Authenticator(algorithm=algorithm)
    assert register(signed_in, device).status_code == 200
    browser = app.test_client()
    assert sign_in_by_key(browser, device).status_code == 200
    assert is_signed_in(browser)


def test_d5_the_first_key_brings_recovery_codes_through_a_form_of_the_page(
    signed_in: FlaskClient, device: Authenticator
) -> None:
    found = register(signed_in, device).get_json()
    assert found["codes"]["action"] == "/auth/webauthn/register/codes"
    data = {"sealed": found["codes"]["sealed"], "csrf_token": found["csrf_token"]}
    page = signed_in.post(found["codes"]["action"], data=data)
    assert page.status_code == 200
    assert len(re.findall(r"<li>(?:[A-Z2-7]{4}-){5}[A-Z2-7]{4}</li>", page.text)) == 10
    assert register(signed_in, Authenticator()).get_json()["codes"] is None


def test_d5_sealed_codes_open_for_their_owner_alone(
    app: Flask, signed_in: FlaskClient, device: Authenticator, make_user: Make, sign_in: Any
) -> None:
    sealed = register(signed_in, device).get_json()["codes"]["sealed"]
    path = f"{HOME}/register/codes"
    eve = app.test_client()
    stranger = eve.post(path, data={"sealed": sealed, "csrf_token": token_of(eve)})
    assert stranger.status_code == 303
    sign_in(eve, make_user("eve"))
    for value in (sealed, "", "x" * 100):
        answer = eve.post(path, data={"sealed": value, "csrf_token": token_of(eve)})
        assert answer.status_code == 404
    assert eve.post(path, data={"sealed": sealed}).status_code == 403


def test_d6_a_key_ends_a_sign_in_that_needs_a_second_factor(
    client: FlaskClient, make_user: Make, device: Authenticator
) -> None:
    boss = make_user("boss", roles=["tenant_admin"], actor_type="tenant_admin")
    answer = post(
        client, "/auth/login?next=/account/devices", {"username": "boss", "password": boss.password,
                                                     "next": "/account/devices"},
    )  # fmt: skip
    assert answer.headers["Location"] == "/auth/mfa/enrol"
    answer = register(client, device)
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["next"] == "/account/devices"
    assert answer.get_json()["codes"]
    assert is_signed_in(client)
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert (row.acr, row.amr) == ("aal2", ["pwd", "hwk"])


def test_at_074_another_sign_in_must_show_the_key_that_was_just_added(
    app: Flask, make_user: Make, device: Authenticator
) -> None:
    boss = make_user("boss", roles=["tenant_admin"], actor_type="tenant_admin")
    mine, thief = app.test_client(), app.test_client()
    for browser in (mine, thief):
        post(browser, "/auth/login", {"username": "boss", "password": boss.password})
    asked = options(thief, "register/options")
    assert register(mine, device).status_code == 200
    own = Authenticator()
    answer = send(thief, "register/verify", {"credential": own.create(asked)})
    assert answer.status_code == 401
    assert len(rows(IAMWebauthnCredential)) == 1
    assert thief.get("/auth/mfa/enrol").headers["Location"] == "/auth/mfa/verify"


def test_at_266_a_key_is_added_and_removed_with_fresh_proof_and_a_notice(
    app: Flask, client: FlaskClient, ann: Someone, device: Authenticator, sign_in: Any
) -> None:
    sign_in(client, ann)
    asked = options(client, "register/options")
    with clock.travel(STALE):
        for path, body in (
            ("register/options", {}),
            ("register/verify", {"credential": device.create(asked)}),
        ):
            answer = send(client, path, body)
            assert answer.status_code == 401
            assert problem_of(answer)["type"] == "urn:iam:auth.step_up_required"
            assert "insufficient_user_authentication" in answer.headers["WWW-Authenticate"]
    assert not rows(IAMWebauthnCredential)
    register(client, device, "Blue key")
    assert "A sign-in method was added: Identity" in mails()
    path = f"/account/security/factors/{rows(IAMMfaMethod)[0].id}/remove"
    with clock.travel(STALE):
        answer = post(client, path, page="/account/security")
        assert answer.headers["Location"].startswith("/auth/step-up")
    assert len(rows(IAMWebauthnCredential)) == 1
    confirm(client, device, "step_up", purpose=SECURITY)
    assert post(client, path, page="/account/security").status_code == 303
    assert not rows(IAMWebauthnCredential)
    assert not rows(IAMMfaMethod)
    assert "A sign-in method was removed: Identity" in mails()
    assert sign_in_by_key(app.test_client(), device).status_code == 401


def test_at_266_strangers_register_nothing(client: FlaskClient, device: Authenticator) -> None:
    for path in ("register/options", "register/verify"):
        assert send(client, path).status_code == 401
    assert not rows(IAMWebauthnChallenge)


def test_at_259_a_credential_belongs_to_one_account_of_all_tenants(
    app: Flask,
    ann: Someone,
    keyed: Authenticator,
    make_user: Make,
    sign_in: Any,
    other_tenant: UUID,
    tenant: UUID,
    news: Any,
) -> None:
    stolen = keyed.key.credential_id
    eve = app.test_client()
    sign_in(eve, make_user("eve"))
    news()
    answer = register(eve, Authenticator(), credential_id=stolen)
    assert answer.status_code == 409
    assert problem_of(answer)["type"] == "urn:iam:webauthn.known"
    refused = [row for row in news() if row.action == "WEBAUTHN_REGISTRATION_REFUSED"]
    assert [row.details for row in refused] == [{"reason": "known"}]
    mallory = make_user("mallory", tenant_id=other_tenant)
    with tenant_scope(other_tenant):
        actor = system_actor(other_tenant, "tests")
        with pytest.raises(Exception, match="already registered"):
            add_key(load(mallory.id), Authenticator(), actor, credential_id=stolen)
    row = key_of(keyed)
    assert (row.user_id, row.tenant_id) == (ann.id, tenant)
    assert sign_in_by_key(app.test_client(), keyed).status_code == 200


def test_at_269_a_name_is_plain_text(signed_in: FlaskClient) -> None:
    for name in ("<b>key</b>", "a\u0000b", "a\nb", "x" * 81, "https://evil.example"):
        answer = register(signed_in, Authenticator(), name)
        assert answer.status_code == 422, name
        assert problem_of(answer)["title"]
    assert not rows(IAMMfaMethod)
    assert register(signed_in, Authenticator(), "  Käthe\u202e’s   key ").status_code == 200
    [row] = rows(IAMMfaMethod)
    assert row.name == "Käthe’s key"
    renamed = post(signed_in, f"/account/security/factors/{row.id}/rename", {"name": "<i>x</i>"})
    assert renamed.status_code == 422


def test_at_050_an_unconfirmed_address_gets_no_key(
    client: FlaskClient, make_user: Make, sign_in: Any
) -> None:
    sign_in(client, make_user("new", email_verified=False))
    answer = send(client, "register/options")
    assert answer.status_code == 403
    assert problem_of(answer)["type"] == "urn:iam:account.email_unverified"


def test_d8_ten_factors_are_enough(
    signed_in: FlaskClient, tenant: UUID, ann: Someone, actor: Actor
) -> None:
    register(signed_in, Authenticator())
    asked = options(signed_in, "register/options")
    with tenant_scope(tenant):
        for _number in range(9):
            add_key(load(ann.id), Authenticator(), actor)
    late = send(signed_in, "register/verify", {"credential": Authenticator().create(asked)})
    assert late.status_code == 409
    assert send(signed_in, "register/options").status_code == 409


def test_d1_keys_that_policy_forbids_are_neither_added_nor_used_alone(
    app: Flask, signed_in: FlaskClient
) -> None:
    with changed(app, MfaSettings, MFA_METHODS=("totp",)):
        assert send(signed_in, "register/options").status_code == 403
        answer = send(app.test_client(), "login/options", {"flow": "sign_in"})
        assert problem_of(answer)["type"] == "urn:iam:webauthn.not_offered"


# What is wrong, the authenticator's lie, the reason in the audit trail.
REGISTRATION_LIES: list[tuple[dict[str, Any], str]] = [
    ({"challenge": encode(b"x" * 32)}, "challenge"),
    ({"type": "webauthn.get"}, "type"),
    ({"origin": "https://localhost"}, "origin"),
    ({"origin": "http://localhost:8080"}, "origin"),
    ({"origin": "http://localhost.evil.example"}, "origin"),
    ({"origin": "null"}, "origin"),
    ({"cross_origin": True}, "cross_origin"),
    ({"more_client_data": {"topOrigin": "http://localhost"}}, "cross_origin"),
    ({"rp_id": "example.org"}, "rp_id"),
    ({"flags": UV}, "user_presence"),
    ({"flags": UP | UV | BS}, "backup_flags"),
    ({"key": ({**new_key()[0], 3: -65535}, None)}, "algorithm"),
    ({"key": ({**new_key()[0], -3: bytes(32)}, None)}, "public_key"),
]


@pytest.mark.parametrize(("lies", "reason"), REGISTRATION_LIES)
def test_e2_a_lie_at_registration_is_refused_and_leaves_one_event(
    signed_in: FlaskClient, device: Authenticator, news: Any, lies: dict[str, Any], reason: str
) -> None:
    asked = options(signed_in, "register/options")
    news()
    answer = send(signed_in, "register/verify", {"credential": device.create(asked, **lies)})
    assert answer.status_code == 401
    assert problem_of(answer)["title"] == REFUSED
    assert [(row.action, row.details) for row in news()] == [
        ("WEBAUTHN_REGISTRATION_REFUSED", {"reason": reason})
    ]
    assert not rows(IAMMfaMethod)
    assert not rows(IAMWebauthnCredential)


def test_at_250_a_registration_challenge_is_good_once_here_and_now(
    app: Flask, signed_in: FlaskClient, ann: Someone, sign_in: Any, make_user: Make
) -> None:
    def verify(browser: FlaskClient, message: Any) -> int:
        return int(send(browser, "register/verify", {"credential": message}).status_code)

    used = options(signed_in, "register/options")
    first = Authenticator().create(used)
    assert verify(signed_in, first) == 200
    assert verify(signed_in, first) == 401
    assert verify(signed_in, Authenticator().create(used)) == 401

    for_other_session = options(signed_in, "register/options")
    elsewhere = app.test_client()
    eve = make_user("eve")
    sign_in(elsewhere, eve)
    assert verify(elsewhere, Authenticator().create(for_other_session)) == 401

    late = options(signed_in, "register/options")
    with clock.travel(timedelta(seconds=301)):
        assert verify(signed_in, Authenticator().create(late)) == 401

    of_sign_in = options(signed_in, "login/options", {"flow": "sign_in"})
    mixed = {**options(signed_in, "register/options"), "challenge": of_sign_in["challenge"]}
    assert verify(signed_in, Authenticator().create(mixed)) == 401


def test_at_250_a_challenge_is_used_up_even_by_an_answer_that_is_refused(
    signed_in: FlaskClient, device: Authenticator
) -> None:
    asked = options(signed_in, "register/options")
    bad = device.create(asked, origin="https://evil.example")
    assert send(signed_in, "register/verify", {"credential": bad}).status_code == 401
    good = device.create(asked)
    assert send(signed_in, "register/verify", {"credential": good}).status_code == 401


# --------------------------------------------------------------- policy of a tenant


@pytest.fixture
def maker() -> Maker:
    """Return a maker of authenticators."""
    return Maker()


@pytest.fixture
def direct(app: Flask, maker: Maker, tmp_path: Any) -> Iterator[None]:
    """Let a test's keys be taken only where the maker vouches for them."""
    path = tmp_path / "roots.pem"
    path.write_bytes(maker.pem())
    with changed(
        app, WebauthnSettings, WEBAUTHN_TRUSTED_ROOTS=str(path), WEBAUTHN_ATTESTATION="direct"
    ):
        yield


def test_at_265_where_attestation_is_demanded_only_a_trusted_makers_model_is_taken(
    direct: None, signed_in: FlaskClient, maker: Maker, news: Any
) -> None:
    for attest in (none, by_itself, Maker().packed(), maker.packed(aaguid=UUID(int=9))):
        news()
        answer = register(signed_in, Authenticator(), attest=attest)
        assert answer.status_code == 401
        assert problem_of(answer)["type"] == "urn:iam:webauthn.authenticator"
        assert [row.details for row in news() if row.status == "failure"] == [
            {"reason": "attestation"}
        ]
    assert options(signed_in, "register/options")["attestation"] == "direct"
    device = Authenticator()
    assert register(signed_in, device, attest=maker.packed()).status_code == 200
    assert (key_of(device).attestation_format, key_of(device).attestation_trusted) == (
        "packed",
        True,
    )


def test_e2_where_no_attestation_is_demanded_a_statement_is_not_trusted(
    signed_in: FlaskClient, maker: Maker
) -> None:
    device = Authenticator()
    assert register(signed_in, device, attest=maker.packed()).status_code == 200
    assert key_of(device).attestation_trusted is False


def test_e2_a_tenant_chooses_models_verification_and_passkeys(
    app: Flask, signed_in: FlaskClient, tenant: UUID, actor: Actor
) -> None:
    with tenant_scope(tenant), transaction():
        services_settings.override(
            {
                "WEBAUTHN_ALLOWED_AAGUIDS": ["d548826e-79b4-db40-a3d8-11116f7e8349"],
                "WEBAUTHN_USER_VERIFICATION": "required",
                "WEBAUTHN_RESIDENT_KEY": "required",
            },
            actor=actor,
        )
    try:
        asked = options(signed_in, "register/options")
        assert asked["authenticatorSelection"] == {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        }
        assert register(signed_in, Authenticator()).status_code == 401
        other = UUID("d548826e-79b4-db40-a3d8-11116f7e8349")
        assert register(signed_in, Authenticator(aaguid=other, verifies=False)).status_code == 401
        assert register(signed_in, Authenticator(aaguid=other)).status_code == 200
    finally:
        with tenant_scope(tenant), transaction():
            services_settings.override(
                dict.fromkeys(
                    (
                        "WEBAUTHN_ALLOWED_AAGUIDS",
                        "WEBAUTHN_USER_VERIFICATION",
                        "WEBAUTHN_RESIDENT_KEY",
                    )
                ),
                actor=actor,
            )


# --------------------------------------------------------------- a passkey alone


def test_e1_a_passkey_signs_in_alone(
    app: Flask, client: FlaskClient, keyed: Authenticator, ann: Someone, audit_rows: Any
) -> None:
    answer = sign_in_by_key(client, keyed, next="/account/devices")
    assert answer.status_code == 200, answer.text
    assert answer.get_json() == {"next": "/account/devices"}
    assert is_signed_in(client)
    [row] = rows(IAMAuthSession)
    assert (row.state, row.acr, row.amr, row.user_id) == ("active", "aal2", ["hwk", "user"], ann.id)
    assert row.mfa_time is not None
    [event] = audit_rows("LOGIN_SUCCEEDED")
    assert event.details["amr"] == ["hwk", "user"]
    stored = key_of(keyed)
    assert (stored.sign_count, stored.last_used_at is not None) == (1, True)


def test_e1_a_synced_passkey_is_told_apart(app: Flask, signed_in: FlaskClient) -> None:
    cloud = Authenticator(synced=True, counts=0)
    register(signed_in, cloud)
    browser = app.test_client()
    assert sign_in_by_key(browser, cloud, remember=True).status_code == 200
    row = rows(IAMAuthSession, IAMAuthSession.state == "active")[-1]
    assert (row.amr, row.acr, row.remember) == (["swk", "user"], "aal2", True)
    assert sign_in_by_key(browser, cloud, flags=UP | UV | BE).status_code == 200
    assert key_of(cloud).backup_state is False


def test_e1_a_passkey_meets_a_policy_that_requires_two_factors(
    app: Flask, make_user: Make, device: Authenticator
) -> None:
    boss = make_user("boss", roles=["tenant_admin"], actor_type="tenant_admin")
    first = app.test_client()
    post(first, "/auth/login", {"username": "boss", "password": boss.password})
    register(first, device)
    browser = app.test_client()
    assert sign_in_by_key(browser, device).get_json() == {"next": "/account"}
    assert browser.get("/admin/users").status_code == 200


def test_at_015_the_options_of_a_sign_in_name_no_credential(
    app: Flask, client: FlaskClient, keyed: Authenticator
) -> None:
    asked = options(client, "login/options", {"flow": "sign_in"})
    assert sorted(asked) == ["challenge", "rpId", "timeout", "userVerification"]
    assert (asked["rpId"], asked["userVerification"]) == ("localhost", "required")
    more = options(client, "login/options", {"flow": "sign_in", "username": "ann"})
    assert "allowCredentials" not in more
    for flow in ("mfa", "step_up"):
        answer = send(client, "login/options", {"flow": flow, "purpose": SECURITY})
        assert answer.status_code == 401


SIGN_IN_LIES: list[tuple[dict[str, Any], str]] = [
    ({"challenge": encode(b"x" * 32)}, "challenge"),
    ({"type": "webauthn.create"}, "type"),
    ({"origin": "https://localhost"}, "origin"),
    ({"origin": "http://localhost:8080"}, "origin"),
    ({"origin": "http://sub.localhost"}, "origin"),
    ({"origin": "http://localhost.evil.example"}, "origin"),
    ({"origin": "null"}, "origin"),
    ({"cross_origin": True}, "cross_origin"),
    ({"more_client_data": {"topOrigin": "http://localhost"}}, "cross_origin"),
    ({"rp_id": "example.org"}, "rp_id"),
    ({"flags": UV}, "user_presence"),
    ({"flags": UP}, "user_verification"),
    ({"flags": UP | UV | BE}, "backup_flags"),
    ({"flags": UP | UV | BS}, "backup_flags"),
    ({"user_handle": None}, "user_handle"),
    ({"user_handle": b"x" * 64}, "user_handle"),
    ({"user_handle": b""}, "user_handle"),
    ({"broken_signature": True}, "signature"),
]


@pytest.mark.parametrize(("lies", "reason"), SIGN_IN_LIES)
def test_at_076_at_253_a_lie_signs_nobody_in_and_leaves_one_event(
    client: FlaskClient, keyed: Authenticator, news: Any, lies: dict[str, Any], reason: str
) -> None:
    asked = options(client, "login/options", {"flow": "sign_in"})
    news()
    body = {"flow": "sign_in", "credential": keyed.get(asked, **lies)}
    answer = send(client, "login/verify", body)
    assert answer.status_code == 401
    assert problem_of(answer)["title"] == REFUSED
    [event] = news()
    assert (event.action, event.details["reason"]) == ("LOGIN_FAILED", reason)
    assert not rows(IAMAuthSession)
    assert not is_signed_in(client)
    assert key_of(keyed).last_used_at is None
    assert sign_in_by_key(client, keyed).status_code == 200


def test_at_261_a_key_stored_under_another_algorithm_signs_nobody_in(
    client: FlaskClient, keyed: Authenticator, audit_rows: Any
) -> None:
    change_key(keyed, algorithm=-257)
    assert sign_in_by_key(client, keyed).status_code == 401
    assert [row.details["reason"] for row in audit_rows("LOGIN_FAILED")] == ["algorithm"]
    assert not rows(IAMAuthSession)


def test_at_257_a_key_signs_in_its_own_account_and_no_other(
    app: Flask, client: FlaskClient, keyed: Authenticator, make_user: Make, actor: Actor,
    tenant: UUID,
) -> None:  # fmt: skip
    """Eve's own good signature, with Ann's handle or Ann's credential id."""
    eve, mine = make_user("eve"), Authenticator()
    with tenant_scope(tenant):
        add_key(load(eve.id), mine, actor)
    assert sign_in_by_key(client, mine, user_handle=keyed.key.user_handle).status_code == 401
    asked = options(client, "login/options", {"flow": "sign_in"})
    forged = mine.get(asked, user_handle=keyed.key.user_handle)
    forged["id"] = forged["rawId"] = encode(keyed.key.credential_id)
    answer = send(client, "login/verify", {"flow": "sign_in", "credential": forged})
    assert answer.status_code == 401
    assert not rows(IAMAuthSession)


def test_at_011_unknown_keys_are_told_what_wrong_ones_are(
    client: FlaskClient, keyed: Authenticator, audit_rows: Any
) -> None:
    stranger = Authenticator()
    stranger.create({"challenge": "", "rp": {"id": "localhost"}, "user": {"id": encode(b"h" * 64)}})
    unknown = sign_in_by_key(client, stranger)
    wrong = sign_in_by_key(client, keyed, broken_signature=True)
    told = [problem_of(item) for item in (unknown, wrong)]
    assert [{**item, "request_id": ""} for item in told] == [{**told[0], "request_id": ""}] * 2
    assert [row.details["reason"] for row in audit_rows("LOGIN_FAILED")] == [
        "unknown_credential",
        "signature",
    ]


def test_at_258_a_key_of_one_tenant_is_unknown_in_another(
    client: FlaskClient, make_user: Make, other_tenant: UUID, audit_rows: Any
) -> None:
    mallory, device = make_user("mallory", tenant_id=other_tenant), Authenticator()
    with tenant_scope(other_tenant):
        add_key(load(mallory.id), device, system_actor(other_tenant, "tests"))
    assert sign_in_by_key(client, device).status_code == 401
    assert audit_rows("LOGIN_FAILED")[-1].details == {"reason": "unknown_credential"}
    assert not rows(IAMAuthSession)


def test_at_250_a_sign_in_challenge_is_good_once_in_its_browser_and_for_minutes(
    app: Flask, client: FlaskClient, keyed: Authenticator
) -> None:
    def verify(browser: FlaskClient, asked: dict[str, Any]) -> int:
        body = {"flow": "sign_in", "credential": keyed.get(asked)}
        return int(send(browser, "login/verify", body).status_code)

    once = options(client, "login/options", {"flow": "sign_in"})
    assert verify(client, once) == 200
    assert verify(client, once) == 401
    for_here = options(client, "login/options", {"flow": "sign_in"})
    assert verify(app.test_client(), for_here) == 401
    late = options(client, "login/options", {"flow": "sign_in"})
    with clock.travel(timedelta(seconds=301)):
        assert verify(client, late) == 401


def test_at_253_a_key_that_never_verified_its_user_signs_in_behind_a_password_first(
    app: Flask, signed_in: FlaskClient, ann: Someone
) -> None:
    """Level 3, 7.2: what was bound as one factor does not become two by itself."""
    device = Authenticator(verifies=False)
    assert register(signed_in, device).status_code == 200
    device.verifies = True  # somebody has set a PIN since
    alone = app.test_client()
    answer = sign_in_by_key(alone, device)
    assert answer.status_code == 401
    assert "password" in problem_of(answer)["title"]
    assert not is_signed_in(alone)
    behind = app.test_client()
    post(behind, "/auth/login", {"username": "ann", "password": ann.password})
    assert confirm(behind, device).status_code == 200
    assert key_of(device).user_verified is True
    assert sign_in_by_key(alone, device).status_code == 200


@pytest.mark.parametrize("status", ["suspended", "disabled", "locked", "erased", "invited"])
def test_b2_an_account_that_may_not_act_is_not_signed_in(
    client: FlaskClient, keyed: Authenticator, ann: Someone, status: str, audit_rows: Any
) -> None:
    with unscoped("a test"), transaction():
        session().execute(
            sa.update(IAMUserAccount).where(IAMUserAccount.id == ann.id).values(status=status)
        )
    answer = sign_in_by_key(client, keyed)
    assert answer.status_code == 401
    assert problem_of(answer)["title"] == REFUSED
    assert audit_rows("LOGIN_FAILED")[-1].details["reason"] == "account_status"
    assert not rows(IAMAuthSession)


def test_d8_keys_that_an_administrator_reset_are_gone(
    app: Flask, client: FlaskClient, keyed: Authenticator, ann: Someone, tenant: UUID,
    actor: Actor,
) -> None:  # fmt: skip
    with tenant_scope(tenant), transaction():
        services_mfa_changes.reset_factors(load(ann.id), actor=actor)
    assert not rows(IAMWebauthnCredential)
    assert sign_in_by_key(client, keyed).status_code == 401


def test_a_factor_row_takes_its_key_along_by_the_database_itself(
    app: Flask, client: FlaskClient, keyed: Authenticator
) -> None:
    with app.extensions["sqlalchemy"].engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM iam_mfa_method")
    assert not rows(IAMWebauthnCredential)
    assert sign_in_by_key(client, keyed).status_code == 401


def test_x3_a_known_device_signs_in_with_six_statements(
    app: Flask, client: FlaskClient, keyed: Authenticator
) -> None:
    sign_in_by_key(client, keyed)
    client.delete_cookie("iam_session")
    asked = options(client, "login/options", {"flow": "sign_in"})
    body = {"flow": "sign_in", "credential": keyed.get(asked)}
    headers = {"X-CSRFToken": token_of(client)}
    with statements(app.extensions["sqlalchemy"].engine) as found:
        answer = client.post(f"{HOME}/login/verify", json=body, headers=headers)
    assert answer.status_code == 200
    assert len(found) <= 6, "\n".join(found)


# --------------------------------------------------------------- copied keys


def test_at_255_a_counter_that_stands_still_is_told_and_let_in(
    app: Flask, keyed: Authenticator, audit_rows: Any
) -> None:
    change_key(keyed, sign_count=9)
    for expected in (1, 2):
        assert sign_in_by_key(app.test_client(), keyed, sign_count=9).status_code == 200
        assert len(audit_rows("WEBAUTHN_CLONE_SUSPECTED")) == expected
    event = audit_rows("WEBAUTHN_CLONE_SUSPECTED")[0]
    assert (event.severity, event.details) == ("warning", {"name": "YubiKey 5"})
    row = key_of(keyed)
    assert row.clone_suspected_at is not None
    assert row.sign_count == 9
    told = [text for text in mails() if "copied" in text]
    assert len(told) == 1, "once, however often the copy comes back"
    assert sign_in_by_key(app.test_client(), keyed, sign_count=10).status_code == 200
    assert len(audit_rows("WEBAUTHN_CLONE_SUSPECTED")) == 2


def test_at_255_passkeys_that_count_nothing_are_never_suspected(
    client: FlaskClient, keyed: Authenticator, audit_rows: Any
) -> None:
    for _time in range(2):
        assert sign_in_by_key(client, keyed, sign_count=0).status_code == 200
    assert not audit_rows("WEBAUTHN_CLONE_SUSPECTED")


@pytest.mark.parametrize("alone", [True, False])
def test_at_255_a_policy_may_refuse_copies(
    app: Flask, keyed: Authenticator, ann: Someone, audit_rows: Any, alone: bool
) -> None:
    change_key(keyed, sign_count=9)
    browser = app.test_client()
    with changed(app, WebauthnSettings, WEBAUTHN_REFUSE_CLONES=True):
        if alone:
            answer = sign_in_by_key(browser, keyed, sign_count=3)
        else:
            post(browser, "/auth/login", {"username": "ann", "password": ann.password})
            answer = confirm(browser, keyed, sign_count=3)
    assert answer.status_code == 401
    assert problem_of(answer)["title"] == REFUSED
    assert not is_signed_in(browser)
    assert len(audit_rows("WEBAUTHN_CLONE_SUSPECTED")) == 1
    assert audit_rows("LOGIN_FAILED" if alone else "MFA_FAILED")[-1].details["reason"] == "clone"
    assert key_of(keyed).clone_suspected_at is not None
    assert len([text for text in mails() if "copied" in text]) == 1


# --------------------------------------------------------------- the second step


def test_d7_a_key_is_the_second_step_of_a_sign_in(
    pending: FlaskClient, keyed: Authenticator, audit_rows: Any
) -> None:
    page = pending.get("/auth/mfa/verify")
    assert page.status_code == 200
    asked = options(pending, "login/options", {"flow": "mfa"})
    assert [item["id"] for item in asked["allowCredentials"]] == [encode(keyed.key.credential_id)]
    assert asked["userVerification"] == "preferred"
    answer = confirm(pending, keyed)
    assert answer.get_json() == {"next": "/account"}
    assert is_signed_in(pending)
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert (row.acr, row.amr) == ("aal2", ["pwd", "hwk"])
    assert [event.details["method"] for event in audit_rows("MFA_VERIFIED")] == ["webauthn"]
    assert rows(IAMMfaMethod)[0].last_used_at is not None


def test_at_253_behind_a_password_possession_is_enough(
    pending: FlaskClient, keyed: Authenticator
) -> None:
    assert confirm(pending, keyed, flags=UP).status_code == 200
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert row.acr == "aal2"


SECOND_STEP_LIES = [
    (lies, reason)
    for lies, reason in SIGN_IN_LIES
    if reason not in {"user_verification"} and lies != {"user_handle": None}
]


@pytest.mark.parametrize(("lies", "reason"), SECOND_STEP_LIES)
def test_at_076_a_lie_is_no_second_step(
    pending: FlaskClient, keyed: Authenticator, news: Any, lies: dict[str, Any], reason: str
) -> None:
    asked = options(pending, "login/options", {"flow": "mfa"})
    news()
    body = {"flow": "mfa", "credential": keyed.get(asked, **lies)}
    answer = send(pending, "login/verify", body)
    assert answer.status_code == 401
    assert problem_of(answer)["title"] == REFUSED
    [event] = news()
    assert (event.action, event.details["reason"]) == ("MFA_FAILED", reason)
    assert not rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert confirm(pending, keyed).status_code == 200


def test_e2_where_a_tenant_requires_it_the_second_step_verifies_its_user(
    app: Flask, pending: FlaskClient, keyed: Authenticator, audit_rows: Any
) -> None:
    with changed(app, WebauthnSettings, WEBAUTHN_USER_VERIFICATION="required"):
        asked = options(pending, "login/options", {"flow": "mfa"})
        assert asked["userVerification"] == "required"
        assert confirm(pending, keyed, flags=UP).status_code == 401
        assert audit_rows("MFA_FAILED")[-1].details["reason"] == "user_verification"
        assert confirm(pending, keyed).status_code == 200


@pytest.fixture
def eves(make_user: Make, tenant: UUID, actor: Actor) -> Authenticator:
    """Return an authenticator with a key of somebody else's."""
    device = Authenticator()
    eve = make_user("eve")
    with tenant_scope(tenant):
        add_key(load(eve.id), device, actor)
    return device


def test_at_067_another_accounts_key_is_no_second_step_and_no_step_up(
    pending: FlaskClient, keyed: Authenticator, eves: Authenticator, audit_rows: Any
) -> None:
    for lies in ({}, {"user_handle": keyed.key.user_handle}, {"user_handle": None}):
        assert confirm(pending, eves, **lies).status_code == 401
        assert audit_rows("MFA_FAILED")[-1].details["reason"] == "owner"
    confirm(pending, keyed)
    with clock.travel(STALE):
        for lies in ({}, {"user_handle": keyed.key.user_handle}):
            answer = confirm(pending, eves, "step_up", purpose=SECURITY, **lies)
            assert answer.status_code == 401
        assert audit_rows("STEP_UP_FAILED")
        assert send(pending, "register/options").status_code == 401
        answer = confirm(pending, keyed, "step_up", purpose=SECURITY, next="/account/security")
        assert answer.get_json() == {"next": "/account/security"}
        assert send(pending, "register/options").status_code == 200


def test_at_258_another_tenants_key_is_no_second_step(
    pending: FlaskClient, make_user: Make, other_tenant: UUID, audit_rows: Any
) -> None:
    mallory, device = make_user("mallory", tenant_id=other_tenant), Authenticator()
    with tenant_scope(other_tenant):
        add_key(load(mallory.id), device, system_actor(other_tenant, "tests"))
    assert confirm(pending, device).status_code == 401
    assert audit_rows("MFA_FAILED")[-1].details["reason"] == "owner"


def test_at_079_an_assertion_for_one_purpose_or_flow_is_none_for_another(
    app: Flask, pending: FlaskClient, keyed: Authenticator
) -> None:
    def verify(asked: dict[str, Any], **body: Any) -> int:
        message = {**body, "credential": keyed.get(asked)}
        return int(send(pending, "login/verify", message).status_code)

    for_sign_in = options(pending, "login/options", {"flow": "sign_in"})
    assert verify(for_sign_in, flow="mfa") == 401
    of_pending = options(pending, "login/options", {"flow": "mfa"})
    assert verify(of_pending, flow="step_up", purpose=SECURITY) == 401
    assert verify(of_pending, flow="mfa") == 200
    of_users = options(pending, "login/options", {"flow": "step_up", "purpose": "admin.users"})
    assert verify(of_users, flow="step_up", purpose=SECURITY) == 401
    assert verify(of_users, flow="mfa") == 401
    assert verify(of_users, flow="step_up", purpose="admin.users") == 200
    for_step_up = {"flow": "step_up", "purpose": SECURITY}
    assert verify(options(pending, "login/options", for_step_up), flow="sign_in") == 401
    unknown = send(pending, "login/options", {"flow": "step_up", "purpose": "no.such"})
    assert unknown.status_code == 404


def test_at_250_a_challenge_of_one_sign_in_is_none_of_another(
    app: Flask, pending: FlaskClient, keyed: Authenticator, ann: Someone
) -> None:
    asked = options(pending, "login/options", {"flow": "mfa"})
    post(pending, "/auth/login", {"username": "ann", "password": ann.password})
    body = {"flow": "mfa", "credential": keyed.get(asked)}
    assert send(pending, "login/verify", body).status_code == 401
    assert confirm(pending, keyed).status_code == 200


def test_at_034_tries_with_a_key_are_counted(pending: FlaskClient, keyed: Authenticator) -> None:
    found = [confirm(pending, keyed, broken_signature=True).status_code for _try in range(7)]
    assert found == [401] * 5 + [429] * 2
    assert confirm(pending, keyed).status_code == 429


def test_d7_several_keys_and_other_factors_stand_side_by_side(
    app: Flask, client: FlaskClient, make_user: Make, tenant: UUID, actor: Actor, sign_in: Any
) -> None:
    bob = make_user("bob", mfa="totp")
    first, second = Authenticator(), Authenticator(verifies=False)
    with tenant_scope(tenant):
        add_key(load(bob.id), first, actor)
        add_key(load(bob.id), second, actor)
    password = {"username": "bob", "password": bob.password}
    for device in (first, second):
        browser = app.test_client()
        post(browser, "/auth/login", password)
        asked = options(browser, "login/options", {"flow": "mfa"})
        assert len(asked["allowCredentials"]) == 2
        assert confirm(browser, device).status_code == 200
        assert key_of(device).last_used_at is not None
    browser = app.test_client()
    post(browser, "/auth/login", password)
    token = csrf_of(browser.get("/auth/mfa/choose").text)
    browser.post("/auth/mfa/challenge", data={"method": "totp", "csrf_token": token})
    answer = post(browser, "/auth/mfa/verify", {"code": totp_code(bob.totp_secret)})
    assert answer.headers["Location"] == "/account"


def test_at_046_a_typed_code_is_no_assertion(pending: FlaskClient, keyed: Authenticator) -> None:
    asked = options(pending, "login/options", {"flow": "mfa"})
    for code in ("000000", "{}", json.dumps(keyed.get(asked))[:64]):
        data = {"code": code, "csrf_token": token_of(pending)}
        assert pending.post("/auth/mfa/verify", data=data).status_code in {200, 401, 422}
        assert not is_signed_in(pending)


def test_d1_somebody_without_keys_is_asked_for_none(
    client: FlaskClient, make_user: Make, keyed: Authenticator, news: Any
) -> None:
    bob = make_user("bob", mfa="totp")
    post(client, "/auth/login", {"username": "bob", "password": bob.password})
    assert send(client, "login/options", {"flow": "mfa"}).status_code == 404
    asked = options(client, "login/options", {"flow": "sign_in"})
    news()
    body = {"flow": "mfa", "credential": keyed.get(asked)}
    assert send(client, "login/verify", body).status_code == 401
    assert [row.details["reason"] for row in news()] == ["no_method"]


# --------------------------------------------------------------- AAL3


@pytest.fixture
def vault() -> Iterator[str]:
    """Declare a purpose that wants AAL3."""
    if "test.vault" not in purposes:
        purposes.add(Purpose("test.vault", "open the vault", acr="aal3"))
    return "test.vault"


def test_f1_aal3_takes_a_bound_vouched_for_key_with_user_verification(
    app: Flask, direct: None, maker: Maker, signed_in: FlaskClient, ann: Someone, vault: str,
    tenant: UUID, actor: Actor, audit_rows: Any,
) -> None:  # fmt: skip
    bound, synced = Authenticator(), Authenticator(synced=True, counts=0)
    assert register(signed_in, synced, attest=maker.packed()).status_code == 200
    assert (
        send(signed_in, "login/options", {"flow": "step_up", "purpose": vault}).status_code == 404
    )
    assert register(signed_in, bound, attest=maker.packed()).status_code == 200
    asked = options(signed_in, "login/options", {"flow": "step_up", "purpose": vault})
    assert [item["id"] for item in asked["allowCredentials"]] == [encode(bound.key.credential_id)]
    assert asked["userVerification"] == "required"
    assert confirm(signed_in, synced, "step_up", purpose=vault).status_code == 401
    assert confirm(signed_in, bound, "step_up", purpose=vault, flags=UP).status_code == 401
    assert confirm(signed_in, bound, "step_up", purpose=vault).status_code == 200
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert (row.acr, row.proofs[vault]["acr"]) == ("aal3", "aal3")
    alone = app.test_client()
    sign_in_by_key(alone, bound)
    assert rows(IAMAuthSession, IAMAuthSession.state == "active")[-1].acr == "aal3"
    sign_in_by_key(app.test_client(), synced)
    assert rows(IAMAuthSession, IAMAuthSession.state == "active")[-1].acr == "aal2"


def test_f1_a_key_nobody_vouches_for_stays_at_aal2(
    app: Flask, signed_in: FlaskClient, device: Authenticator, vault: str
) -> None:
    register(signed_in, device)
    answer = send(signed_in, "login/options", {"flow": "step_up", "purpose": vault})
    assert answer.status_code == 404


# --------------------------------------------------------------- what a request must be

PATHS = ["register/options", "register/verify", "login/options", "login/verify"]


@pytest.mark.parametrize("path", PATHS)
def test_at_140_anything_but_json_is_refused(signed_in: FlaskClient, path: str) -> None:
    headers = {"X-CSRFToken": token_of(signed_in)}
    body = json.dumps({"flow": "sign_in"})
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/json",
        "",
        None,
    ):
        answer = signed_in.post(f"{HOME}/{path}", data=body, content_type=kind, headers=headers)
        assert answer.status_code == 415, kind
        problem_of(answer)


@pytest.mark.parametrize("path", PATHS)
def test_at_139_a_request_without_the_pages_token_is_refused(
    signed_in: FlaskClient, path: str
) -> None:
    url = f"{HOME}/{path}"
    token = token_of(signed_in)
    assert signed_in.post(url, json={}).status_code == 403
    assert signed_in.post(url, json={"csrf_token": token}).status_code == 403
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = signed_in.post(url, json={}, headers={"X-CSRFToken": token, **headers})
        assert answer.status_code == 403
    assert signed_in.get(url).status_code == 405


MALFORMED: list[tuple[Any, int]] = [
    (b"", 400),
    (b"[]", 400),
    (b"null", 400),
    (b'"x"', 400),
    (b"{", 400),
    (b'{"flow": "sign_in", "flow": "mfa"}', 400),
    (b'{"flow": NaN}', 400),
    (b'{"flow": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 400),
    (b'{"flow": "\xff"}', 400),
    (b'{"flow": "\\ud800"}', 400),
    (b" " * 65_537, 413),
    (b'{"flow": "' + b"x" * 70_000 + b'"}', 413),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "status"), MALFORMED)
def test_at_260_a_body_that_is_none_is_refused_with_one_event(
    signed_in: FlaskClient, news: Any, path: str, body: bytes, status: int
) -> None:
    headers = {"X-CSRFToken": token_of(signed_in), "Content-Type": "application/json"}
    news()
    answer = signed_in.post(f"{HOME}/{path}", data=body, headers=headers)
    assert answer.status_code == status
    assert problem_of(answer)["title"]
    [event] = news()
    assert event.action == "WEBAUTHN_MALFORMED"
    assert event.details["endpoint"] == f"iam_webauthn.{path.replace('/', '_')}"


STRANGE: list[Any] = [None, [], {}, "", 7, True, ["a"], {"id": 1}, 1.5]


@pytest.mark.parametrize("value", STRANGE)
def test_at_020_fields_of_another_type_are_refused_with_one_event(
    signed_in: FlaskClient, news: Any, value: Any
) -> None:
    for path, body in (
        ("register/verify", {"credential": value}),
        ("login/verify", {"flow": "sign_in", "credential": value}),
        ("login/verify", {"flow": value}),
        ("login/options", {"flow": value}),
    ):
        news()
        answer = send(signed_in, path, body)
        assert answer.status_code == 400, (path, value)
        assert [event.action for event in news()] == ["WEBAUTHN_MALFORMED"]


@pytest.mark.parametrize("name", ["name", "purpose", "next", "remember"])
def test_at_020_further_fields_of_another_type_are_refused(
    signed_in: FlaskClient, device: Authenticator, name: str
) -> None:
    for value in ([], {}, 7, ["x"]):
        if name == "name":
            asked = options(signed_in, "register/options")
            body = {"credential": device.create(asked), "name": value}
            assert send(signed_in, "register/verify", body).status_code == 400
        else:
            body = {"flow": "sign_in", "credential": {}, name: value}
            assert send(signed_in, "login/verify", body).status_code == 400


def test_at_101_open_redirects_are_not_followed(client: FlaskClient, keyed: Authenticator) -> None:
    for target in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:x"):
        assert sign_in_by_key(client, keyed, next=target).get_json() == {"next": "/account"}


def test_e3_pages_allow_their_own_scripts_to_use_keys_and_nobody_elses(
    client: FlaskClient,
) -> None:
    policy = client.get("/auth/login").headers["Permissions-Policy"]
    assert "publickey-credentials-create=(self)" in policy
    assert "publickey-credentials-get=(self)" in policy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["flow", "purpose", "next", "remember", "credential", "name", "id", "rawId", "response"]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(PATHS), body=st.dictionaries(NAMES, JSON, max_size=6))
def test_whatever_is_sent_the_answer_is_never_a_fault_of_ours(
    signed_in: FlaskClient, path: str, body: dict[str, Any]
) -> None:
    answer = send(signed_in, path, body)
    assert answer.status_code < 500
    assert answer.is_json
