"""Who this service is to authenticators, and what start-up says of wrong settings (E2)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.auth.settings import AuthSettings
from app.auth.webauthn.relying_party import relying_party
from app.auth.webauthn.settings_webauthn import WebauthnSettings, findings, origin_of
from app.core.db import transaction
from app.core.errors import BadRequest, InvalidInput, Misconfigured
from app.tenancy import services_settings
from tests.support.authenticator import Maker
from tests.support.passkeys import send
from tests.support.settings import changed


def ids(base: str = "https://id.example.org", **values: Any) -> list[str]:
    auth = AuthSettings(IAM_BASE_URL=base)
    return [item.id for item in findings(WebauthnSettings(**values), auth)]


def test_a_sensible_deployment_has_no_findings(tmp_path: Any) -> None:
    assert ids() == []
    assert ids("https://id.example.org:8443/path") == []
    assert ids(WEBAUTHN_RP_ID="example.org") == []
    assert ids("", WEBAUTHN_RP_ID="") == []  # iam.E003 says it
    origins = ("https://id.example.org", "https://app.example.org:8443")
    assert ids(WEBAUTHN_RP_ID="example.org", WEBAUTHN_ORIGINS=origins) == []


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        ("iam.E401", {"WEBAUTHN_RP_ID": "192.0.2.1"}),
        ("iam.E401", {"WEBAUTHN_RP_ID": "Example.org"}),
        ("iam.E401", {"WEBAUTHN_RP_ID": "https://id.example.org"}),
        ("iam.E402", {"WEBAUTHN_ORIGINS": ("https://id.example.org/",)}),
        ("iam.E402", {"WEBAUTHN_ORIGINS": ("https://id.example.org:443",)}),
        ("iam.E402", {"WEBAUTHN_ORIGINS": ("https://ID.example.org",)}),
        ("iam.E402", {"WEBAUTHN_ORIGINS": ("*",)}),
        ("iam.E402", {"WEBAUTHN_ORIGINS": ("https://x:y",)}),
        ("iam.E403", {"WEBAUTHN_ORIGINS": ("http://id.example.org",)}),
        ("iam.E404", {"WEBAUTHN_RP_ID": "example.com"}),
        ("iam.E404", {"WEBAUTHN_RP_ID": "ample.org"}),
        ("iam.E404", {"WEBAUTHN_ORIGINS": ("https://id.example.org.evil.example",)}),
        ("iam.E405", {"WEBAUTHN_TRUSTED_ROOTS": "/no/such/file"}),
        ("iam.W401", {"WEBAUTHN_ALLOWED_AAGUIDS": ("ee882879-721c-4913-9775-3dfcce97072a",)}),
    ],
)
def test_e2_a_wrong_setting_has_a_finding_of_its_own(expected: str, values: Any) -> None:
    assert expected in ids(**values)


def test_e2_an_address_is_refused_by_the_name_of_its_setting_and_only_where_keys_are_offered() -> (
    None
):
    auth = AuthSettings(IAM_BASE_URL="https://192.0.2.7")
    (finding,) = findings(WebauthnSettings(), auth)
    assert finding.id == "iam.E401"
    assert finding.text.startswith("IAM_BASE_URL")
    assert list(findings(WebauthnSettings(), auth, offered=False)) == []


def test_direct_attestation_needs_a_trust_list(tmp_path: Any) -> None:
    for values in (
        {"WEBAUTHN_ATTESTATION": "direct"},
        {"WEBAUTHN_ALLOWED_AAGUIDS": "no-aaguid"},
        {"WEBAUTHN_USER_VERIFICATION": "always"},
    ):
        with pytest.raises(Misconfigured):
            WebauthnSettings.load(values, {})
    path = tmp_path / "roots.pem"
    path.write_bytes(Maker().pem())
    values = {"WEBAUTHN_ATTESTATION": "direct", "WEBAUTHN_TRUSTED_ROOTS": str(path)}
    assert not list(
        findings(WebauthnSettings.load(values, {}), AuthSettings(IAM_BASE_URL="https://a.example"))
    )


def test_k1_a_tenant_may_not_demand_attestation_without_a_trust_list(
    app: Flask, scoped: Any, actor: Any
) -> None:
    with pytest.raises(InvalidInput), transaction():
        services_settings.override({"WEBAUTHN_ATTESTATION": "direct"}, actor=actor)
    with pytest.raises(InvalidInput), transaction():
        services_settings.override({"WEBAUTHN_RP_ID": "evil.example"}, actor=actor)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://id.example.org", "https://id.example.org"),
        ("https://ID.example.org:443/x?y", "https://id.example.org"),
        ("http://localhost:5000/", "http://localhost:5000"),
        ("http://[::1]:80", "http://[::1]"),
        ("ftp://x", ""),
        ("https://x:99999", ""),
        ("", ""),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_at_249_the_rp_comes_from_settings_and_never_from_the_host_header(
    app: Flask, client: FlaskClient, scoped: UUID
) -> None:
    with app.test_request_context(headers={"Host": "evil.example"}):
        party = relying_party()
    assert (party.id, party.origins) == ("localhost", ("http://localhost",))
    with changed(app, WebauthnSettings, WEBAUTHN_RP_ID="example.org", WEBAUTHN_RP_NAME="Shop"):
        assert (relying_party().id, relying_party().name) == ("example.org", "Shop")


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "[::1]:5000"])
def test_e2_a_numeric_address_is_answered_by_a_sentence(
    app: Flask, client: FlaskClient, host: str
) -> None:
    with changed(app, AuthSettings, IAM_BASE_URL=""):
        answer = send(
            client,
            "login/options",
            {"flow": "sign_in"},
            base_url=f"http://{host}",
            token=None,
        )
    assert answer.status_code == 400
    assert "http://localhost:5000" in answer.get_json()["title"]


def test_e2_without_a_base_url_localhost_works_and_other_hosts_do_not(
    app: Flask, client: FlaskClient, scoped: UUID
) -> None:
    with changed(app, AuthSettings, IAM_BASE_URL=""):
        with app.test_request_context(base_url="http://localhost:5000"):
            assert relying_party().origins == ("http://localhost:5000",)
        with app.test_request_context(base_url="http://evil.example"), pytest.raises(BadRequest):
            relying_party()
