"""Every write has its evidence: an audit row in the same transaction (M1).

The watcher stands at the engine, below the session, so that flushes, bulk
statements and Core statements all pass it. It looks at what each transaction
commits while the main flows run over HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from app.audit.sealing import sealer, services_checkpoints
from app.auth.models import IAMAuthSession, IAMUserAccount, IAMWebauthnCredential
from app.auth.sign_in.settings_sign_in import SignInSettings
from app.authz.models import IAMRole
from app.core import clock
from app.core.db import Base, session, transaction
from app.core.errors import NotFound
from app.core.scoping import tenant_scope, unscoped
from app.tenancy import services_domains
from app.tenancy.settings import TenancySettings
from tests.architecture.source import listed
from tests.conftest import post, totp_code
from tests.support import passkeys, recovery, sso
from tests.support.authenticator import Authenticator
from tests.support.dns_server import DnsServer
from tests.support.mailbox import code_to, link_to, wrong
from tests.support.settings import changed

AUDIT = "iam_auth_log"
# Written without evidence of their own, and why. May only shrink.
UNAUDITED_TABLES = {
    "iam_audit_checkpoint": "the sealed trail: signatures over the evidence itself",
    "iam_audit_head": "the sealed trail: how far it goes",
    "iam_audit_node": "the sealed trail: hashes of the evidence itself",
    "iam_audit_seal": "the sealed trail: hashes of the evidence itself",
    "iam_outbox": "the queue of messages: delivery is not an act of a person",
    "iam_sso_flow": "trips to providers, used up before anything is checked",
    "iam_throttle": "counters, committed before anything is checked",
    "iam_webauthn_challenge": "questions to browsers, used up before anything is checked",
}
# Columns that may change without evidence, and why.
UNAUDITED_COLUMNS = {
    ("iam_auth_session", "last_activity_at"): "last seen",
    ("iam_device", "last_seen_at"): "last seen",
    ("iam_action_token", "attempts"): "a counter, committed before anything is checked",
    ("iam_domain", "checked_at"): "last seen; what follows from it has its evidence",
    ("iam_domain", "missing_since"): "first seen away; what follows from it has its evidence",
}
_WRITE = re.compile(r"^\s*(INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO)\s+[`\"]?(\w+)", re.I)
_SET = re.compile(r"\bSET\b(.*?)(?:\bWHERE\b|$)", re.I | re.S)
_COLUMN = re.compile(r"[`\"]?(\w+)[`\"]?\s*=")


@dataclass(frozen=True)
class Write:
    """One statement that changes a table of ours."""

    verb: str
    table: str
    columns: frozenset[str]

    @property
    def needs_evidence(self) -> bool:
        """Return whether nothing exempts it."""
        if self.table in UNAUDITED_TABLES:
            return False
        listed_columns = {(self.table, name) in UNAUDITED_COLUMNS for name in self.columns}
        return not (self.verb == "UPDATE" and self.columns and listed_columns == {True})


def read(statement: str) -> Write | None:
    """Return what a statement writes to a table of ours, or None."""
    match = _WRITE.match(statement)
    if match is None or not match.group(2).lower().startswith("iam_"):
        return None
    verb = match.group(1).split()[0].upper()
    assigned = _SET.search(statement) if verb == "UPDATE" else None
    columns = frozenset(_COLUMN.findall(assigned.group(1))) if assigned else frozenset()
    return Write(verb, match.group(2).lower(), columns)


@dataclass
class Watch:
    """What was committed, and which transactions left no evidence."""

    open: dict[int, list[Write]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    transactions: int = 0

    def statement(self, conn: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        """Note one statement of an open transaction; one that met no row wrote nothing."""
        write = read(statement)
        if write is not None and cursor.rowcount != 0:
            self.open.setdefault(id(conn), []).append(write)

    def commit(self, conn: Any) -> None:
        """Judge a transaction that ends well."""
        writes = self.open.pop(id(conn), [])
        if not writes:
            return
        self.transactions += 1
        self.written |= {write.table for write in writes}
        if any(write.table == AUDIT and write.verb == "INSERT" for write in writes):
            return
        self.complaints += [
            f"{write.verb} {write.table} ({', '.join(sorted(write.columns))}) without evidence"
            for write in writes
            if write.needs_evidence
        ]

    def rollback(self, conn: Any) -> None:
        """Forget a transaction that wrote nothing in the end."""
        self.open.pop(id(conn), None)


@pytest.fixture
def watch(app: Flask) -> Iterator[Watch]:
    """Watch the engine of the suite's app; the test ends by asking what it saw."""
    watching = Watch()
    engine = app.extensions["sqlalchemy"].engine
    hooks: dict[str, Callable[..., None]] = {
        "after_cursor_execute": watching.statement,
        "commit": watching.commit,
        "rollback": watching.rollback,
    }
    for name, hook in hooks.items():
        event.listen(engine, name, hook)
    yield watching
    for name, hook in hooks.items():
        event.remove(engine, name, hook)


def the(watching: Watch, *tables: str) -> None:
    """Hold that every transaction had its evidence, and that the tables were written at all."""
    assert not watching.complaints, listed(watching.complaints)
    assert set(tables) <= watching.written, f"never written: {set(tables) - watching.written}"


@pytest.fixture
def administrator(make_user: Callable[..., Any]) -> Any:
    """Return an administrator with a second factor."""
    return make_user("root", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")


def test_m1_signing_in_and_out(client: FlaskClient, make_user, sign_in, watch: Watch) -> None:
    person = make_user("ann")
    post(client, "/auth/login", {"username": "ann", "password": "wrong"})
    post(client, "/auth/login", {"username": "nobody", "password": "wrong"})
    sign_in(client, person)
    with clock.travel(timedelta(minutes=5)):
        client.get("/account")
    post(client, "/auth/logout", page="/account")
    the(watch, "iam_auth_session", "iam_device", AUDIT, "iam_throttle")


def test_m1_second_factor_sign_in(client, make_user, sign_in, watch: Watch) -> None:
    person = make_user("ann", mfa="totp")
    post(client, "/auth/login", {"username": "ann", "password": person.password})
    post(client, "/auth/mfa/verify", {"code": "000000"})
    post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    assert client.get("/account").status_code == 200
    the(watch, "iam_auth_session", "iam_mfa_method")


def test_m1_the_password_changes(client, make_user, sign_in, watch: Watch) -> None:
    person = make_user("ann")
    sign_in(client, person)
    new = "another horse battery staple 43"
    bad = {"current": "wrong", "password": new, "password_confirm": new}
    post(client, "/account/security/password", bad)
    answer = post(client, "/account/security/password", {**bad, "current": person.password})
    assert answer.status_code == 303, answer.text
    the(watch, "iam_user_account", "iam_auth_session")


def test_m1_a_forgotten_password(client, make_user, watch: Watch) -> None:
    make_user("ann")
    post(client, "/auth/password/forgot", {"username": "ann"})
    post(client, "/auth/password/forgot", {"username": "nobody"})
    the(watch, "iam_action_token", "iam_outbox")


def test_m1_signing_in_by_link_and_code(app, client, make_user, watch: Watch) -> None:
    make_user("ann")
    page, form = "/auth/login/link", {"username": "ann", "channel": "email"}
    with changed(app, SignInSettings, SIGN_IN_LINK_ENABLED=True, SIGN_IN_CODE_EMAIL_ENABLED=True):
        post(client, page, form)
        post(client, page, {**form, "username": "nobody"})
        bad = {**form, "code": wrong(code_to("ann@example.com"))}
        post(client, "/auth/login/code", bad, page=page)
        post(client, "/auth/login/code", {**bad, "username": "nobody"}, page=page)
        answer = post(client, link_to("ann@example.com", f"{page}/"))
        assert answer.status_code == 303
    the(watch, "iam_action_token", "iam_auth_session", "iam_outbox")


def test_m1_an_address_and_a_number_change_and_come_back(
    client, make_user, sign_in, watch: Watch
) -> None:
    sign_in(client, make_user("ann"))
    for page, name, value in (
        ("/account/email", "email", "new@example.org"),
        ("/account/phone", "phone_number", "+12025550123"),
    ):
        post(client, page, {name: value})
        post(client, page, {"code": wrong(code_to(value))})
        assert post(client, page, {"code": code_to(value)}).status_code == 303
    assert post(client, "/account/phone", {"action": "remove"}).status_code == 303
    assert post(client, link_to("ann@example.com", "/auth/email/undo/")).status_code == 303
    the(watch, "iam_user_account", "iam_action_token", "iam_auth_session")


def test_m1_an_invitation_is_made_renewed_refused_and_accepted(
    client, administrator, sign_in, watch: Watch
) -> None:
    sign_in(client, administrator)
    page = "/admin/invitations"
    form = {"email": "bea@example.com", "name": "", "language": "", "parent_id": "", "roles": []}
    for _time in range(2):
        assert post(client, f"{page}/new", form).status_code == 303
    row = re.search(r"/invitations/([\w-]+)/resend", client.get(page).text)
    assert row
    post(client, f"{page}/{row.group(1)}/resend", page=page)
    link = link_to("bea@example.com", "/auth/invitation/")
    assert post(client, link, page="/account").status_code == 403
    post(client, "/auth/logout", page="/account")
    assert post(client, "/auth/invitation/unknown", page=link).status_code == 404
    secret = "another horse battery staple 43"
    answer = post(client, link, {"username": "bea", "password": secret, "password_confirm": secret})
    assert answer.status_code == 303
    the(watch, "iam_invitation", "iam_user_account", "iam_auth_session")


def test_m1_a_tenants_settings_change(client, administrator, sign_in, watch: Watch) -> None:
    sign_in(client, administrator)
    answer = post(client, "/admin/settings/branding", {"IAM_BRAND_NAME": "Acme"})
    assert answer.status_code == 303
    the(watch, "iam_tenant")


def test_m1_a_profile_and_devices(client, make_user, sign_in, watch: Watch) -> None:
    sign_in(client, make_user("ann"))
    answer = post(client, "/account", {"display_name": "Ann", "language": "", "timezone": ""})
    assert answer.status_code == 303
    post(client, "/account/sessions/end-others", page="/account/sessions")
    device = re.search(r"/account/devices/([\w-]+)/rename", client.get("/account/devices").text)
    assert device
    path = f"/account/devices/{device.group(1)}"
    post(client, f"{path}/rename", {"name": "Laptop"}, page="/account/devices")
    answer = post(client, f"{path}/revoke", page="/account/devices")
    assert answer.status_code == 303
    the(watch, "iam_user_account", "iam_device", "iam_auth_session")


def test_m1_a_factor_is_enrolled_and_removed(client, make_user, sign_in, watch: Watch) -> None:
    sign_in(client, make_user("ann"))
    page = "/account/security/totp"
    post(client, page, {"action": "start"})
    shown = re.search(r"data-copy=\"([A-Z2-7 ]{16,})\"|>([A-Z2-7 ]{32,})<", client.get(page).text)
    assert shown, client.get(page).text
    secret = (shown.group(1) or shown.group(2)).replace(" ", "")
    post(client, page, {"code": "000000", "name": "Phone"})
    answer = post(client, page, {"code": totp_code(secret), "name": "Phone"})
    assert answer.status_code in {200, 303}, answer.text
    the(watch, "iam_mfa_method", "iam_recovery_code")


def test_m1_passkeys_are_added_used_and_removed(
    client, make_user, sign_in, watch: Watch, tenant
) -> None:
    sign_in(client, make_user("ann"))
    device = Authenticator()
    passkeys.register(client, device, origin="https://evil.example")
    assert passkeys.register(client, device).status_code == 200
    alone = client.application.test_client()
    passkeys.sign_in(alone, device, broken_signature=True)
    assert passkeys.sign_in(alone, device).status_code == 200
    assert passkeys.sign_in(alone, device, sign_count=1).status_code == 200
    for lies in ({"broken_signature": True}, {}):
        passkeys.confirm(alone, device, "step_up", purpose="account.security", **lies)
    passkeys.send(alone, "login/verify", {"flow": "nonsense"})
    with tenant_scope(tenant):
        key = session().scalar(sa.select(IAMWebauthnCredential.mfa_method_id))
        session().rollback()
    path = f"/account/security/factors/{key}/remove"
    assert post(alone, path, page="/account/security").status_code == 303
    the(watch, "iam_webauthn_credential", "iam_webauthn_challenge", "iam_mfa_method")


def test_m1_an_account_is_made_changed_and_suspended(
    client, administrator, make_user, sign_in, watch: Watch
) -> None:
    victim = make_user("vic")
    sign_in(client, administrator)
    new = {"username": "new", "email": "new@example.com", "actor_type": "end_user"}
    answer = post(client, "/admin/users/new", new)
    assert answer.status_code == 303, answer.text
    home = f"/admin/users/{victim.id}"
    edited = {"username": "vic", "email": victim.email, "actor_type": "end_user", "language": ""}
    assert post(client, f"{home}/edit", {**edited, "first_name": "Vic"}).status_code == 303
    for act in ("suspend", "reactivate", "disable", "reset-factors", "delete"):
        answer = post(client, f"{home}/{act}", {"reason": "a test"})
        assert answer.status_code == 303, (act, answer.text)
    the(watch, "iam_user_account", "iam_action_token", "iam_outbox")


def test_m1_roles_change(app, client, administrator, make_user, sign_in, tenant, watch) -> None:
    person = make_user("ann")
    sign_in(client, administrator)
    answer = post(
        client, "/admin/roles/new", {"name": "proofreader", "permission-user:read": "tenant"}
    )
    assert answer.status_code == 303, answer.text
    with tenant_scope(tenant):
        role = session().scalar(sa.select(IAMRole.id).where(IAMRole.name == "proofreader"))
        session().rollback()
    home = f"/admin/users/{person.id}"
    given = post(client, f"{home}/roles", {"role": str(role)}, page=home)
    assert given.status_code == 303, given.text
    edited = {"name": "proofreader", "permission-user:read": "own"}
    assert post(client, f"/admin/roles/{role}/edit", edited).status_code == 303
    taken = post(client, f"{home}/roles/{role}/revoke", page=home)
    assert taken.status_code == 303, taken.text
    gone = post(client, f"/admin/roles/{role}/delete", page=f"/admin/roles/{role}")
    assert gone.status_code == 303, gone.text
    the(watch, "iam_role", "iam_role_permission", "iam_user_role")


def test_m1_connections_and_domains_change(app, client, administrator, sign_in, watch) -> None:
    sign_in(client, administrator)
    new = {
        "name": "Acme", "slug": "acme", "client_id": "ours", "client_secret": "secret",
        "discovery_url": "https://127.0.0.1/.well-known/openid-configuration", "jit": "off",
    }  # fmt: skip
    made = post(client, "/admin/connections/new?provider=oidc", new)
    assert made.status_code == 303, made.text
    home = made.location
    kept = {name: value for name, value in new.items() if name not in {"slug", "client_secret"}}
    assert post(client, f"{home}/edit", {**kept, "name": "Acme staff"}).status_code == 303
    assert post(client, f"{home}/rotate", {"client_secret": "another"}).status_code == 303
    assert post(client, f"{home}/test", page=home).status_code == 200
    for act in ("enable", "default", "disable"):
        assert post(client, f"{home}/{act}", page=home).status_code == 303, act
    with DnsServer() as dns, changed(app, TenancySettings, IAM_DNS_SERVERS=(dns.address,)):
        claimed = post(client, "/admin/domains", {"name": "acme.example"})
        domain, bound = claimed.location, {"connection_id": home.rpartition("/")[2]}
        assert post(client, f"{domain}/connection", bound, page=domain).status_code == 303
        assert post(client, f"{domain}/check", page=domain).status_code == 422
        proof = re.findall(r'id="record-\w+"[^>]*>([^<]+)<', client.get(domain).text)
        dns.records[proof[0]] = [proof[1]]
        assert post(client, f"{domain}/check", page=domain).status_code == 303
        dns.records.clear()
        for hours in (25, 98):
            with clock.travel(timedelta(hours=hours)):
                services_domains.check_due()
    assert post(client, f"{home}/delete", {"name": "Acme staff"}).status_code == 303
    assert post(client, f"{domain}/release", page=domain).status_code == 303
    the(watch, "iam_sso_connection", "iam_domain")


def test_m1_an_administrator_ends_sessions(
    client, administrator, make_user, sign_in, watch: Watch
) -> None:
    person = make_user("ann")
    sign_in(client.application.test_client(), person)
    sign_in(client, administrator)
    home = f"/admin/users/{person.id}"
    assert post(client, f"{home}/sessions/end", page=home).status_code == 303
    the(watch, "iam_auth_session")


def test_m1_an_account_is_recovered(client, make_user, watch: Watch) -> None:
    person = make_user("ann", mfa="totp")
    recovery.set_phone(person)
    watch.complaints.clear()
    recovery.begin(client, person)
    recovery.follow(client.application.test_client(), recovery.link("cancel"))
    recovery.begin(client, person)
    with clock.travel(timedelta(hours=73)):  # too late: the next request marks it so
        recovery.begin_waiting(client, person)
    with clock.travel(timedelta(hours=98)):
        answer = recovery.follow(client.application.test_client(), recovery.link("continue"))
        assert answer.status_code == 303
    the(watch, "iam_recovery_request", "iam_mfa_method", "iam_action_token")


def test_m1_signing_in_through_a_provider_and_out(
    app, client, make_user, lying_provider, tenant, watch: Watch
) -> None:
    connection = sso.make_connection(app, lying_provider.url, jit="open", provider_logout=True)
    watch.complaints.clear()
    new = {"sub": "new", "email": "new@example.com", "email_verified": True}
    assert sso.sign_in_through(client, lying_provider, **new).status_code == 303
    post(client, "/auth/logout", page="/account")
    sso.sign_in_through(client, lying_provider, **new)
    token = {"logout_token": lying_provider.logout_token(sub="new")}
    path = f"/auth/sso/{connection.slug}/backchannel-logout"
    assert [client.post(path, data=token).status_code for _ in range(2)] == [200, 400]
    make_user("ann")
    watch.complaints.clear()
    theirs = {"sub": "other", "email": "ann@example.com", "email_verified": True}
    assert sso.sign_in_through(client, lying_provider, **theirs).status_code == 303
    assert client.get(f"/auth/sso/{connection.slug}/callback?state=x").status_code == 400
    the(watch, "iam_sso_flow", "iam_sso_session", "iam_sso_logout_token", "iam_user_identity")


def test_m1_sealing_leaves_evidence_of_its_keys(client, make_user, tenant, actor, watch) -> None:
    post(client, "/auth/login", {"username": "nobody", "password": "wrong"})
    sealer.seal_all()
    services_checkpoints.sign(tenant)
    services_checkpoints.rotate_key(actor=actor)
    the(watch, "iam_audit_seal", "iam_audit_head", "iam_audit_checkpoint", "iam_audit_key")


def test_m1_a_refusal_keeps_its_evidence(client, make_user, watch: Watch, audit_rows) -> None:
    """What was refused is rolled back; that it was refused stays."""
    make_user("ann")
    post(client, "/auth/login", {"username": "ann", "password": "wrong"})
    assert [row.action for row in audit_rows("LOGIN_FAILED")] == ["LOGIN_FAILED"]
    the(watch, AUDIT)


# ---------------------------------------------------------------- the watcher can fail


def test_a_write_without_evidence_is_seen(make_user, tenant, watch: Watch) -> None:
    """Through a flush, through a bulk statement and through bare SQL."""
    person = make_user("ann")
    watch.complaints.clear()
    with tenant_scope(tenant), transaction():
        user = session().scalars(sa.select(IAMUserAccount)).one()
        user.first_name = "Changed"
    assert watch.complaints == ["UPDATE iam_user_account (first_name) without evidence"]
    watch.complaints.clear()
    with tenant_scope(tenant), transaction():
        where = IAMUserAccount.id == person.id
        session().execute(sa.update(IAMUserAccount).where(where).values(last_name="Changed"))
    assert len(watch.complaints) == 1
    watch.complaints.clear()
    with unscoped("a test"), transaction():
        session().execute(sa.text("UPDATE iam_user_account SET last_name = 'x'"))
    assert len(watch.complaints) == 1


def test_listed_columns_need_no_evidence_but_others_beside_them_do(
    app, make_user, sign_in, tenant, watch: Watch
) -> None:
    sign_in(app.test_client(), make_user("ann"))
    watch.complaints.clear()
    for values in ({"last_activity_at": clock.now()}, {"revoke_reason": "x"}):
        with tenant_scope(tenant), transaction():
            session().execute(sa.update(IAMAuthSession).values(**values))
    assert len(watch.complaints) == 1
    assert "revoke_reason" in watch.complaints[0]


def test_work_rolled_back_needs_no_evidence(make_user, tenant, watch: Watch) -> None:
    make_user("ann")
    watch.complaints.clear()
    with suppress(NotFound), tenant_scope(tenant), transaction():
        session().scalars(sa.select(IAMUserAccount)).one().first_name = "Changed"
        session().flush()
        raise NotFound
    assert not watch.complaints


def test_the_lists_name_tables_and_columns_that_exist() -> None:
    """Allow-lists may only shrink: an entry nobody needs is an open door."""
    tables = Base.metadata.tables
    assert set(UNAUDITED_TABLES) <= set(tables)
    for table, column in UNAUDITED_COLUMNS:
        assert column in tables[table].c
