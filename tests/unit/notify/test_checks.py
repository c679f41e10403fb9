"""Start-up checks of the message settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.core.errors import Misconfigured
from app.notify.checks import check_notify
from app.notify.settings import NotifySettings

GOOD: dict[str, Any] = {
    "MAIL_PROVIDER": "smtp",
    "MAIL_SERVER": "mail.example.com",
    "MAIL_FROM": "no-reply@example.com",
    "MAIL_USERNAME": "mailer",
    "MAIL_PASSWORD": "secret-of-the-mailer",
    "SMS_PROVIDER": "none",
    "WHATSAPP_PROVIDER": "none",
    "AUDIT_NOTIFY_EMAILS": "security@example.com",
}


def findings(**changes: Any) -> set[str]:
    settings = NotifySettings.load(GOOD | changes, {})
    found = list(check_notify(SimpleNamespace(settings={NotifySettings: settings})))
    assert "secret-of-the-mailer" not in repr(found)
    return {finding.id for finding in found}


def test_a_good_configuration_has_no_findings() -> None:
    assert findings() == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"MAIL_PROVIDER": "console"}, "iam.E201"),
        ({"SMS_PROVIDER": "console"}, "iam.E201"),
        ({"WHATSAPP_PROVIDER": "console"}, "iam.E201"),
        ({"SMS_PROVIDER": "twilio", "TWILIO_ACCOUNT_SID": "AC1"}, "iam.E202"),
        ({"SMS_PROVIDER": "vonage"}, "iam.E202"),
        ({"WHATSAPP_PROVIDER": "cloud_api"}, "iam.E202"),
        ({"MAIL_SERVER": None}, "iam.E202"),
        ({"SMS_PROVIDER": "pigeon"}, "iam.E203"),
        ({"SMS_PROVIDER": "smtp"}, "iam.E203"),
        ({"TWILIO_API_BASE_URL": "http://127.0.0.1:8000"}, "iam.E204"),
        ({"MAIL_USE_TLS": False}, "iam.E205"),
        ({"MAIL_USE_TLS": False, "MAIL_USERNAME": None}, "iam.W205"),
        ({"IAM_SMS_COUNTRIES": "*"}, "iam.W206"),
        ({"IAM_DEMO": True}, "iam.E207"),
        ({"MAIL_FROM": "Example"}, "iam.E208"),
        (
            {"AUDIT_NOTIFY_URL": "http://a.example/x", "AUDIT_NOTIFY_SECRET": "s" * 24},
            "iam.E209",
        ),
        (
            {"AUDIT_NOTIFY_URL": "https://a.example/x", "AUDIT_NOTIFY_SECRET": "s" * 23},
            "iam.E210",
        ),
        ({"AUDIT_NOTIFY_EMAILS": None}, "iam.W209"),
    ],
)
def test_v1_a_bad_configuration_is_named(changes: dict[str, Any], expected: str) -> None:
    assert findings(**changes) == {expected}


def test_secrets_do_not_show_in_the_settings() -> None:
    secrets = {
        "MAIL_PASSWORD": "s3cret-1",
        "TWILIO_AUTH_TOKEN": "s3cret-2",
        "VONAGE_API_SECRET": "s3cret-3",
        "WHATSAPP_ACCESS_TOKEN": "s3cret-4",
    }
    assert "s3cret" not in repr(NotifySettings.load(secrets, {}))


def test_countries_are_a_list_in_the_environment() -> None:
    settings = NotifySettings.load({}, {"IAM_SMS_COUNTRIES": "DE, AT"})
    assert settings.IAM_SMS_COUNTRIES == ("DE", "AT")
    with pytest.raises(Misconfigured):
        NotifySettings.load({}, {"IAM_OUTBOX_MODE": "sometimes"})
