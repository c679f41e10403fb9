"""What start-up says of single sign-on that is half set up (V1, G1)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from app.auth.sso.settings_sso import SsoSettings, check
from app.core.runtime import state
from tests.support.settings import changed

WHOLE = {
    "OIDC": {
        "OIDC_CLIENT_ID": "x",
        "OIDC_CLIENT_SECRET": "x",
        "OIDC_DISCOVERY_URL": "https://id.example/.well-known/openid-configuration",
    },
    "GOOGLE": {"GOOGLE_CLIENT_ID": "x", "GOOGLE_CLIENT_SECRET": "x"},
    "AZURE": {"AZURE_CLIENT_ID": "x", "AZURE_CLIENT_SECRET": "x", "AZURE_TENANT_IDS": ("t",)},
    "GITHUB": {"GITHUB_CLIENT_ID": "x", "GITHUB_CLIENT_SECRET": "x"},
    "FACEBOOK": {"FACEBOOK_CLIENT_ID": "x", "FACEBOOK_CLIENT_SECRET": "x"},
    "APPLE": {
        "APPLE_CLIENT_ID": "x",
        "APPLE_TEAM_ID": "x",
        "APPLE_KEY_ID": "x",
        "APPLE_PRIVATE_KEY": "x",
    },
}
PARTS = [(provider, name) for provider, values in WHOLE.items() for name in values]


def findings(app: Flask, **values: Any) -> list[tuple[str, str]]:
    with changed(app, SsoSettings, SSO_ALLOW_PRIVATE=False, **values):
        return [(item.id, item.text) for item in check(state())]


def test_nothing_and_everything_set_up_has_no_findings(app: Flask) -> None:
    assert findings(app) == []
    everything = {name: value for values in WHOLE.values() for name, value in values.items()}
    assert findings(app, **everything) == []


@pytest.mark.parametrize(("provider", "left_out"), PARTS)
def test_what_is_half_set_up_is_a_finding(app: Flask, provider: str, left_out: str) -> None:
    values = {name: value for name, value in WHOLE[provider].items() if name != left_out}
    ((code, text),) = findings(app, **values)
    assert code == "iam.E601"
    assert left_out in text


def test_plain_http_is_a_finding_unless_it_is_allowed(app: Flask) -> None:
    values = {**WHOLE["OIDC"], "OIDC_DISCOVERY_URL": "http://id.internal/x"}
    assert [code for code, _text in findings(app, **values)] == ["iam.E602"]
    with changed(app, SsoSettings, SSO_ALLOW_PRIVATE=True, **values):
        assert list(check(state())) == []
