"""What stops a start, and what a start says (V1, AT-029, AT-466, AT-467)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from app import create_app
from app.core.errors import Misconfigured

GOOD = {
    "IAM_ENV": "production",
    "FLASK_SECRET_KEY": "Zq3vX9-mB7_kT2wY8nR5cJ4hL6pD1sF0gA",
    "MFA_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    "IAM_BASE_URL": "https://id.example.org",
    "MAIL_PROVIDER": "none",
    "SMS_PROVIDER": "none",
    "WHATSAPP_PROVIDER": "none",
}


@pytest.fixture
def settings(tmp_path):
    return {**GOOD, "DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}


def test_v1_a_complete_production_configuration_starts(settings):
    app = create_app(settings)
    assert app.config["SESSION_COOKIE_SECURE"] is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"FLASK_SECRET_KEY": ""}, "FLASK_SECRET_KEY"),
        ({"FLASK_SECRET_KEY": "changeme"}, "FLASK_SECRET_KEY"),
        ({"FLASK_SECRET_KEY": "a" * 64}, "FLASK_SECRET_KEY"),
        ({"MFA_ENCRYPTION_KEY": ""}, "MFA_ENCRYPTION_KEY"),
        ({"MFA_ENCRYPTION_KEY": "not-a-fernet-key"}, "MFA_ENCRYPTION_KEY"),
        ({"IAM_BASE_URL": "http://id.example.org"}, "IAM_BASE_URL"),
        ({"SESSION_COOKIE_SECURE": False}, "SESSION_COOKIE_SECURE"),
        ({"TESTING": True}, "testing"),
        ({"WTF_CSRF_ENABLED": False}, "WTF_CSRF_ENABLED"),
        ({"SMS_PROVIDER": "console"}, "SMS_PROVIDER"),
        ({"IAM_DEMO": True}, "IAM_DEMO"),
        ({"ARGON2_MEMORY_KIB": 1024}, "ARGON2"),
        ({"MFA_DEFAULT_POLICY": "flase"}, "MFA_DEFAULT_POLICY"),
        ({"PASSWORD_BREACH_CHECK": "perhaps"}, "PASSWORD_BREACH_CHECK"),
        ({"MAX_LOGIN_ATTEMPTS": "many"}, "MAX_LOGIN_ATTEMPTS"),
        ({"IAM_SESION_LIMIT": "1"}, "IAM_SESION_LIMIT"),
        ({"IAM_ENV": "prodution"}, "IAM_ENV"),
    ],
)
def test_at_029_at_466_at_467_production_refuses_and_names_the_setting(settings, change, words):
    with pytest.raises(Misconfigured) as refused:
        create_app({**settings, **change})
    assert words in str(refused.value)
    for secret in (GOOD["FLASK_SECRET_KEY"], GOOD["MFA_ENCRYPTION_KEY"]):
        assert secret not in str(refused.value)


def test_v1_a_secret_may_come_from_a_file(settings, tmp_path, monkeypatch):
    path = tmp_path / "key"
    path.write_text(settings.pop("FLASK_SECRET_KEY") + "\n")
    monkeypatch.setenv("FLASK_SECRET_KEY_FILE", str(path))
    assert create_app(settings).config["SECRET_KEY"] == GOOD["FLASK_SECRET_KEY"]


def test_v1_a_missing_secret_file_stops_the_start(settings, tmp_path, monkeypatch):
    settings.pop("FLASK_SECRET_KEY")
    monkeypatch.setenv("FLASK_SECRET_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(Misconfigured, match="FLASK_SECRET_KEY_FILE"):
        create_app(settings)


def test_v1_the_string_false_is_false(settings):
    from app.auth.mfa.settings_mfa import MfaSettings

    app = create_app({**settings, "MFA_EMAIL_COUNTS_AS_MFA": "false"})
    assert app.extensions["iam"].settings[MfaSettings].MFA_EMAIL_COUNTS_AS_MFA is False


def test_v1_development_derives_missing_keys_and_says_so(settings, caplog):
    create_app({**settings, "IAM_ENV": "development", "MFA_ENCRYPTION_KEY": ""})
    assert "MFA_ENCRYPTION_KEY" in caplog.text


def test_v1_secrets_are_masked_in_repr(settings):
    app = create_app(settings)
    text = repr(app.extensions["iam"].settings)
    assert GOOD["FLASK_SECRET_KEY"] not in text
    assert GOOD["MFA_ENCRYPTION_KEY"] not in text


def test_a7_the_administration_and_account_pages_can_be_switched_off(settings):
    app = create_app({**settings, "IAM_ADMIN_ENABLED": False, "IAM_ACCOUNT_ENABLED": False})
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert not any(rule.startswith(("/admin", "/account")) for rule in rules)
    client = app.test_client()
    assert client.get("/auth/login").status_code == 200
    assert client.get("/").status_code == 200


def test_a7_url_prefixes_are_settings(settings):
    app = create_app({**settings, "IAM_AUTH_PREFIX": "/id", "IAM_ADMIN_PREFIX": "/console"})
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert "/id/login" in rules
    assert "/console/users" in rules
    assert "/auth/login" not in rules


def flask_iam(folder, settings, *words):
    """Run `flask iam …` as an operator does, on the service's own entry point."""
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "iam", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root, **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a8_check_tells_everything_that_production_refuses(settings, tmp_path):
    wrong = {"IAM_BASE_URL": "http://192.0.2.7", "SIGN_IN_LINK_ENABLED": "true"}
    result = flask_iam(tmp_path, {**settings, **wrong}, "check", "--deploy")
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stdout.splitlines()
    found = {line[:8] for line in lines if line.startswith("iam.E")}
    assert found == {"iam.E003", "iam.E010", "iam.E401", "iam.E403", "iam.E551"}
    assert all(line[10] == " " != line[11] for line in lines if line.startswith("iam."))
    assert lines[-1].startswith("Next       ")


@pytest.mark.parametrize("command", ["settings", "schema"])
def test_a8_looking_needs_no_complete_configuration(settings, tmp_path, command):
    wrong = {"IAM_BASE_URL": "http://192.0.2.7"}
    result = flask_iam(tmp_path, {**settings, **wrong}, command)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("change", "words", "named"),
    [
        ({"RECOVERY_WAIT_HOURS": "-1"}, ("check", "--deploy"), "RECOVERY_WAIT_HOURS"),
        ({"IAM_ENV": "prodution"}, ("check",), "IAM_ENV"),
        ({"IAM_BASE_URL": "http://id.example.org"}, ("users", "list"), "iam.E003"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/all.db"}, ("check",), "iam.E011"),
    ],
)
def test_a8_a_refused_start_is_told_without_a_traceback(settings, tmp_path, change, words, named):
    result = flask_iam(tmp_path, {**settings, **change}, *words)
    assert result.returncode == 1
    assert named in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
