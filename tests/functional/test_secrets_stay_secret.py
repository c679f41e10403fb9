"""Canary secrets appear in no log, audit row, page or table (AT-044, AT-387, AT-402)."""

from __future__ import annotations

import logging
import re

from app.notify import services_outbox
from tests.conftest import post, totp_code

CANARY = "kestrel-canary-under-seven-moons"


def test_at_402_passwords_codes_and_tokens_are_in_no_log_audit_row_or_table(
    app, client, make_user, caplog, audit_rows
):
    caplog.set_level(logging.DEBUG)
    person = make_user("ann", password=CANARY, mfa="totp")
    post(client, "/auth/login", {"username": "ann", "password": CANARY + "-wrong"})
    post(client, "/auth/login", {"username": CANARY, "password": "x"})
    post(client, "/auth/login", {"username": "ann", "password": CANARY})
    code = totp_code(person.totp_secret)
    post(client, "/auth/mfa/verify", {"code": code})
    session = client.get_cookie("iam_session").value
    page = client.get("/account").text + client.get("/account/security").text
    other = app.test_client()
    post(other, "/auth/password/forgot", {"username": "ann"})
    body = services_outbox.list_recent(1)[0]["body"]
    link = re.search(r"/auth/password/reset/(\S+)", body).group(1)
    secrets = [CANARY, session, link, person.totp_secret]
    trail = repr([(row.details, row.changes, row.error) for row in audit_rows()])
    tables = everything_stored(app)
    for secret in secrets:
        assert secret not in caplog.text
        assert secret not in trail
        assert secret not in tables
        assert secret not in page
    assert f"'{code}'" not in trail


def everything_stored(app) -> str:
    found = []
    with app.extensions["sqlalchemy"].engine.connect() as connection:
        from app.core.db import Base

        for table in Base.metadata.sorted_tables:
            found.extend(repr(tuple(row)) for row in connection.execute(table.select()))
    return "\n".join(found)


def test_at_387_the_account_page_shows_no_hash_or_secret(client, make_user, sign_in, app):
    person = make_user("ann", mfa="totp")
    sign_in(client, person)
    for path in ("/account", "/account/security", "/account/sessions", "/account/devices"):
        text = client.get(path).text
        assert "$argon2" not in text
        assert person.totp_secret not in text


def test_at_487_an_error_page_shows_no_inside(app, monkeypatch):
    from app.auth.sessions import services_session_lookup

    def explode(*_args):
        raise RuntimeError(f"inside {CANARY}")

    monkeypatch.setitem(app.config, "TESTING", False)
    monkeypatch.setattr(services_session_lookup, "find", explode)
    client = app.test_client()
    client.set_cookie("iam_session", "x" * 43)
    answer = client.get("/account")
    assert answer.status_code == 500
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    assert "Reference" in answer.text
