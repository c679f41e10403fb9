"""The command line, run as an operator runs it (A8)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from app.auth.accounts.services_directory import get_user
from app.auth.mfa import services_recovery_codes
from app.auth.models import IAMMfaMethod
from app.core.crypto import KeyRing
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from tests.conftest import PASSWORD, post


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()

    def invoke(*words: str, typed: str = ""):
        return runner.invoke(args=["iam", *words], input=typed)

    return invoke


def test_a8_init_db_is_harmless_when_repeated(run):
    for _ in range(2):
        result = run("init-db")
        assert result.exit_code == 0, result.output
        assert "Next" in result.output


def test_a8_create_admin_makes_somebody_who_can_sign_in(run, client):
    typed = "violet ladder under seven moons\n" * 2
    result = run("create-admin", "--username", "root", "--email", "root@example.com", typed=typed)
    assert result.exit_code == 0, result.output
    assert "violet" not in result.output
    answer = post(
        client,
        "/auth/login",
        {"username": "root", "password": "violet ladder under seven moons"},
    )
    assert answer.headers["Location"] == "/auth/mfa/enrol"


def test_c3_create_admin_refuses_a_weak_password(run):
    result = run(
        "create-admin", "--username", "root", "--email", "r@example.com", typed="password\n" * 2
    )
    assert result.exit_code != 0
    assert "Error" in result.output


def test_a8_check_lists_findings_and_fails_a_deployment(run):
    assert run("check").exit_code == 0
    result = run("check", "--deploy")
    assert result.exit_code == 1
    assert "iam.E" in result.output


def test_a8_settings_masks_secrets(run, app):
    result = run("settings")
    assert result.exit_code == 0
    assert app.config["SECRET_KEY"] not in result.output
    assert "FLASK_SECRET_KEY" in result.output
    assert "********" in result.output


def test_a8_schema_prints_the_committed_file(run):
    assert run("schema").output == Path("db/iam_schema.sql").read_text(encoding="utf-8")


def test_a8_audit_verify_finds_the_guards_and_their_absence(run, app):
    assert run("audit", "verify").exit_code == 0
    engine = app.extensions["sqlalchemy"].engine
    from app.audit.append_only import APPEND_ONLY

    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER iam_auth_log_no_update")
    try:
        result = run("audit", "verify")
        assert result.exit_code == 1
        assert "iam_auth_log_no_update" in result.output
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(APPEND_ONLY["iam_auth_log"][engine.dialect.name][0])


def test_a8_hash_calibrate_proposes_parameters(run):
    result = run("hash", "calibrate", "--target-ms", "5")
    assert result.exit_code == 0, result.output
    assert "ARGON2_MEMORY_KIB" in result.output


def test_d2_keys_rotate_re_encrypts_every_stored_secret(
    run, app, client, make_user, tenant, actor, monkeypatch
):
    person = make_user("ann", mfa="totp")
    with tenant_scope(tenant), transaction():
        codes = services_recovery_codes.create(get_user(person.id), actor=actor)
    state = app.extensions["iam"]
    old = state.keyring
    new_key = Fernet.generate_key().decode()
    both = KeyRing(["a-secret-key-of-the-test-suite-0123456789"], [new_key, *old._encryption])
    monkeypatch.setattr(state, "keyring", both)
    result = run("keys", "rotate")
    assert result.exit_code == 0, result.output
    alone = KeyRing(["a-secret-key-of-the-test-suite-0123456789"], [new_key])
    with tenant_scope(tenant):
        row = session().query(IAMMfaMethod).filter_by(user_id=person.id).one()
    assert alone.decrypt(row.secret, f"iam_mfa_method:{row.id}").decode() == person.totp_secret
    monkeypatch.setattr(state, "keyring", alone)
    post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    post(client, "/auth/mfa/challenge", {"method": "recovery_code"}, page="/auth/mfa/choose")
    answer = post(client, "/auth/mfa/verify", {"code": codes[0]})
    assert answer.status_code == 303


def test_a8_users_are_listed_suspended_and_reactivated(run, make_user, client, sign_in):
    person = make_user("ann")
    sign_in(client, person)
    assert "ann@example.com" in run("users", "list").output
    assert run("users", "suspend", "ann", "--reason", "left").exit_code == 0
    assert client.get("/account").status_code == 303
    assert run("users", "reactivate", "ann", "--reason", "back").exit_code == 0
    assert run("users", "suspend", "nobody", "--reason", "x").exit_code != 0


def test_a8_purge_expired_reports_what_it_deleted(run):
    result = run("purge-expired")
    assert result.exit_code == 0, result.output
    assert "iam_auth_session" in result.output


def test_a8_generated_files_are_up_to_date(run):
    result = run("generate", "--check")
    assert result.exit_code == 0, result.output


def test_at_475_no_secret_is_taken_on_the_command_line(app):
    from app.cli import iam_cli

    found = json.dumps(
        [option.opts for command in iam_cli.commands.values() for option in command.params]
    )
    assert "password" not in found
    assert "secret" not in found
