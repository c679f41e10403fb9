"""Tenants below one's own on their pages and the command line (K1, K4, group R)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.auth.models import IAMAuthSession, IAMInvitation
from app.auth.settings import AuthSettings
from app.auth.tenants import services_tenant_admin as admin
from app.auth.tenants import services_tenants_below as below
from app.authz.grants import Grants
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import engine, session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.notify.models import IAMOutbox
from app.tenancy import services_domains
from app.tenancy.models import IAMDomain, IAMTenant
from app.tenancy.services_tenants import find_by_slug
from app.tenancy.settings import TenancySettings
from tests.conftest import Someone, post
from tests.support.settings import changed

NEW = {"slug": "acme", "name": "Acme GmbH", "type": "tenant", "admin_email": ""}


@pytest.fixture
def admin_of(
    app: Flask, make_user: Callable[..., Someone], sign_in: Callable[..., Any], tenant: uuid.UUID
) -> Callable[..., FlaskClient]:
    """Return a factory of browsers of administrators, of any tenant and with any roles."""

    def enter(
        name: str = "ada", roles: tuple[str, ...] = ("tenant_admin",), home: uuid.UUID | None = None
    ) -> FlaskClient:
        someone = make_user(
            name, roles=roles, mfa="totp", tenant_id=home or tenant, actor_type="tenant_admin"
        )
        browser = app.test_client()
        if home is None or home == tenant:
            sign_in(browser, someone)
        return browser

    return enter


@pytest.fixture
def ada(admin_of: Callable[..., FlaskClient]) -> FlaskClient:
    """Return the browser of an administrator of the default tenant, which is the platform."""
    return admin_of()


def make(browser: FlaskClient, parent: uuid.UUID, host: str = "", **values: str) -> uuid.UUID:
    """Make a tenant by its page, and give it a host that it has proved; return its id."""
    answer = post(browser, f"/admin/tenants/{parent}/new", NEW | values)
    assert answer.status_code == 303, re.findall(r"iam-error[^>]*>([^<]+)", answer.text)
    made = uuid.UUID(answer.location.rpartition("/")[2])
    if host:
        prove(made, host.lower().rstrip(".").partition(".")[2])
        form = {"name": (NEW | values)["name"], "host": host}
        assert post(browser, f"/admin/tenants/{made}/edit", form).status_code == 303
    return made


def prove(tenant_id: uuid.UUID, domain: str) -> uuid.UUID:
    """Let a tenant have proved a domain; return its id."""
    at = clock.now()
    with tenant_scope(tenant_id), transaction():
        row = IAMDomain(name=domain, verified_name=domain, token="x", verified_at=at, created_at=at)
        session().add(row)
        session().flush()
        return row.id


def stored(tenant_id: uuid.UUID) -> IAMTenant:
    with unscoped("tests look at every tenant"):
        session().rollback()
        found = session().get(IAMTenant, tenant_id, populate_existing=True)
    assert found is not None
    return found


def invitations(tenant_id: uuid.UUID) -> list[IAMInvitation]:
    with tenant_scope(tenant_id):
        session().rollback()
        return list(session().scalars(sa.select(IAMInvitation).order_by(IAMInvitation.id)))


# Making


def test_k1_a_tenant_is_made_with_roles_and_its_first_admin_is_invited(
    ada: FlaskClient, tenant: uuid.UUID, audit_rows: Callable[..., Any]
) -> None:
    made = make(ada, tenant, host="Login.Acme.example.", admin_email="boss@acme.example")
    row = stored(made)
    assert (row.slug, row.name, row.type, row.parent_id) == ("acme", "Acme GmbH", "tenant", tenant)
    assert (row.host, row.status) == ("login.acme.example", "active")
    invited = invitations(made)
    assert [item.email for item in invited] == ["boss@acme.example"]
    assert len(invited[0].roles) == 1
    told = [item for item in audit_rows("TENANT_CREATED") if item.resource_id == made]
    assert {item.tenant_id for item in told} == {tenant, made}
    page = ada.get(f"/admin/tenants/{made}").text
    assert "login.acme.example" in page
    assert "Acme GmbH" in ada.get("/admin/tenants").text


def test_b3_the_invitation_leads_to_the_new_tenants_own_address(
    app: Flask, ada: FlaskClient, tenant: uuid.UUID
) -> None:
    with changed(app, TenancySettings, IAM_TENANT_DOMAIN="id.example"):
        made = make(ada, tenant, admin_email="boss@acme.example")
    with tenant_scope(made):
        message = session().scalars(sa.select(IAMOutbox)).one()
    assert message is not None
    outbox = app.test_client().get("/dev/outbox")
    assert outbox.status_code in {200, 404}  # the page exists in the demo only


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"slug": "admin"}, "kept for the platform"),
        ({"slug": "Acme"}, "in small letters"),
        ({"slug": "ac"}, "Use 3 to 63"),
        ({"slug": "0ther"}, "looks like that of another tenant"),
        ({"slug": "o7her"}, "looks like that of another tenant"),
        ({"slug": "other"}, "is taken"),
        ({"type": "platform"}, "Not a valid choice"),
        ({"name": " "}, "Enter a name"),
        ({"admin_email": "nobody"}, "mail"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_at_392_names_that_cannot_be_are_refused_beside_their_field(
    ada: FlaskClient, tenant: uuid.UUID, values: dict[str, str], says: str
) -> None:
    answer = post(ada, f"/admin/tenants/{tenant}/new", NEW | values)
    assert answer.status_code in {409, 422}
    assert says in answer.text
    assert find_by_slug("acme") is None  # nothing is left of it


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("localhost", "Enter a host name"),
        ("10.0.0.1", "Enter a host name"),
        ("a.localhost", "cannot be used"),
        ("https://x.example/", "Enter a host name"),
        ("login.taken.example", "is taken"),
        ("login.acme.example.evil", "has to prove this name"),
        ("evilacme.example", "has to prove this name"),
        ("example", "Enter a host name"),
    ],
)
def test_at_392_a_host_that_cannot_be_is_refused(
    ada: FlaskClient, tenant: uuid.UUID, other_tenant: uuid.UUID, host: str, says: str
) -> None:
    with tenant_scope(other_tenant), transaction():
        session().execute(sa.update(IAMTenant).values(host="login.taken.example"))
    made = make(ada, tenant)
    prove(made, "acme.example")
    answer = post(ada, f"/admin/tenants/{made}/edit", {"name": "Acme", "host": host})
    assert answer.status_code in {409, 422}
    assert says in answer.text
    assert stored(made).host is None


def test_at_090_nobody_above_leads_a_tenants_links_to_a_name_of_their_own(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    """A host counts where the tenant itself has proved the domain, not whoever is above."""
    made = make(ada, tenant)
    prove(tenant, "evil.example")
    form = {"name": "Acme", "host": "login.evil.example"}
    answer = post(ada, f"/admin/tenants/{made}/edit", form)
    assert (answer.status_code, stored(made).host) == (422, None)
    assert post(ada, f"/admin/tenants/{tenant}/new", NEW | {"slug": "new", **form})
    assert stored(made).host is None
    assert 'name="host"' not in ada.get(f"/admin/tenants/{tenant}/new").text


def test_at_090_a_host_goes_with_the_proof_of_its_domain(
    ada: FlaskClient, tenant: uuid.UUID, audit_rows: Callable[..., Any]
) -> None:
    made = make(ada, tenant, host="login.acme.example")
    kept = make(ada, tenant, slug="globex", host="login.globex.example")
    with tenant_scope(made), transaction():
        row = session().scalars(sa.select(IAMDomain)).one()
        services_domains.release(row, actor=system_actor(made, "tests"))
    assert stored(made).host is None
    assert stored(kept).host == "login.globex.example"
    last = [row for row in audit_rows("TENANT_UPDATED") if row.tenant_id == made][-1]
    assert last.changes == {"host": ["login.acme.example", None]}


def test_at_392_a_host_of_the_installation_is_no_tenants(
    app: Flask, ada: FlaskClient, tenant: uuid.UUID
) -> None:
    made = make(ada, tenant)
    with (
        changed(app, TenancySettings, IAM_TENANT_DOMAIN="id.example"),
        changed(app, AuthSettings, IAM_BASE_URL="https://login.example"),
    ):
        for host in ("login.example", "id.example", "acme.id.example", "other.id.example"):
            form = {"name": "Acme", "host": host}
            answer = post(ada, f"/admin/tenants/{made}/edit", form)
            assert answer.status_code == 422
            assert "cannot be used" in answer.text


def test_k1_types_lie_below_each_other_as_the_levels_say(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    partner = make(ada, tenant, slug="works", type="partner")
    client = make(ada, partner, slug="globex", type="client")
    assert stored(client).parent_id == partner
    refused = post(ada, f"/admin/tenants/{partner}/new", NEW | {"type": "partner"})
    assert refused.status_code == 422
    assert ada.get(f"/admin/tenants/{client}/new").status_code == 409
    tree = ada.get("/admin/tenants").text
    places = [tree.index(f">{name}<") for name in ("Default", "Acme GmbH")]
    assert places == sorted(places)
    assert 'class="iam-depth-2"' in tree


# Seeing


def test_at_366_tenants_beside_and_above_are_not_there(
    ada: FlaskClient, other_tenant: uuid.UUID, tenant: uuid.UUID
) -> None:
    assert "Other" not in ada.get("/admin/tenants").text
    for way in ("", "/edit", "/new", "/suspend", "/reactivate"):
        for unknown in (other_tenant, new_id(), "x"):
            assert ada.get(f"/admin/tenants/{unknown}{way}").status_code == 404
    for unknown in (other_tenant, new_id()):
        for act in ("edit", "new", "suspend", "invite"):
            data = NEW | {"reason": "because", "admin_email": "boss@acme.example"}
            answer = post(ada, f"/admin/tenants/{unknown}/{act}", data, page="/admin/tenants")
            assert answer.status_code == 404
    assert stored(other_tenant).status == "active"


def test_k4_the_service_sees_only_what_lies_below(
    ada: FlaskClient, tenant: uuid.UUID, other_tenant: uuid.UUID
) -> None:
    partner = make(ada, tenant, slug="works", type="partner")
    client = make(ada, partner, slug="globex", type="client")
    seen = {
        home: [row.id for row in _tree(home)] for home in (tenant, partner, client, other_tenant)
    }
    assert seen == {
        tenant: [tenant, partner, client],
        partner: [partner, client],
        client: [client],
        other_tenant: [other_tenant],
    }
    with tenant_scope(client):
        for above in (tenant, partner, other_tenant):
            with pytest.raises(below.NotFound):
                below.get(above)


def _tree(home: uuid.UUID) -> list[below.TenantRow]:
    with tenant_scope(home):
        return below.tree()[0]


def test_k4_a_search_finds_by_name_short_name_and_host(ada: FlaskClient, tenant: uuid.UUID) -> None:
    make(ada, tenant, slug="globex", name="Globex", host="login.globex.example")
    make(ada, tenant)
    for typed in ("GLOB", "globex", "gin.glob"):
        page = ada.get("/admin/tenants", query_string={"q": typed}).text
        assert "Globex" in page
        assert "Acme GmbH" not in page
    assert "No tenant found" in ada.get("/admin/tenants?q=%25").text


def test_k4_the_tree_costs_the_same_however_many_there_are(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    counts = []
    for number in range(2):
        make(ada, tenant, slug=f"acme-{'ab'[number]}x")
        counts.append(_selects(lambda: ada.get("/admin/tenants")))
    assert counts[0] == counts[1]


def _selects(act: Callable[[], Any]) -> int:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(engine(), "before_cursor_execute", note)
    try:
        assert act().status_code == 200
    finally:
        sa.event.remove(engine(), "before_cursor_execute", note)
    return len([item for item in seen if item.lstrip().upper().startswith(("SELECT", "WITH"))])


@pytest.mark.parametrize("role", ["auditor", "developer"])
def test_k4_who_may_only_read_is_offered_nothing_and_can_do_nothing(
    admin_of: Callable[..., FlaskClient], ada: FlaskClient, tenant: uuid.UUID, role: str
) -> None:
    made = make(ada, tenant)
    reader = admin_of("rita", (role,))
    page = reader.get(f"/admin/tenants/{made}")
    assert page.status_code == 200
    assert not re.search(r"/(edit|suspend|new|invite)\"", page.text)
    for act in ("edit", "suspend", "reactivate", "new", "invite"):
        answer = post(reader, f"/admin/tenants/{made}/{act}", {}, page=f"/admin/tenants/{made}")
        assert answer.status_code == 403


@pytest.mark.parametrize("role", ["viewer", "user_manager", "operator", "client_admin"])
def test_k4_others_do_not_see_tenants_at_all(
    admin_of: Callable[..., FlaskClient], role: str
) -> None:
    browser = admin_of("otto", (role,))
    assert browser.get("/admin/tenants").status_code == 403


# Changing


def test_k1_a_tenant_is_renamed_and_gets_another_host(
    ada: FlaskClient, tenant: uuid.UUID, audit_rows: Callable[..., Any]
) -> None:
    made = make(ada, tenant)
    prove(made, "acme.example")
    form = {"name": "Acme AG", "host": "id.acme.example", "slug": "evil", "status": "suspended"}
    answer = post(ada, f"/admin/tenants/{made}/edit", form | {"parent_id": "", "type": "platform"})
    assert answer.status_code == 303
    row = stored(made)
    assert (row.name, row.host, row.slug) == ("Acme AG", "id.acme.example", "acme")  # AT-365
    assert (row.status, row.type, row.parent_id) == ("active", "tenant", tenant)
    rows = audit_rows("TENANT_UPDATED")
    assert {item.tenant_id for item in rows} == {tenant, made}
    assert rows[0].changes["host"] == [None, "id.acme.example"]
    assert post(ada, f"/admin/tenants/{made}/edit", {"name": "Acme AG", "host": ""})
    assert stored(made).host is None


def test_k4_ones_own_tenant_is_renamed_but_its_host_is_for_those_above(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    page = ada.get(f"/admin/tenants/{tenant}/edit").text
    assert 'name="host"' not in page
    form = {"name": "Default", "host": "evil.example"}
    assert post(ada, f"/admin/tenants/{tenant}/edit", form).status_code == 303
    assert stored(tenant).host is None
    for act in ("suspend", "reactivate"):
        assert ada.get(f"/admin/tenants/{tenant}/{act}").status_code == 404


# Suspending


def test_k1_a_suspended_tenant_ends_its_sessions_and_comes_back_without_them(
    app: Flask,
    ada: FlaskClient,
    tenant: uuid.UUID,
    make_user: Callable[..., Someone],
    sign_in: Callable[..., Any],
    audit_rows: Callable[..., Any],
) -> None:
    made = make(ada, tenant, host="localhost.acme.example")
    bob = make_user("bob", tenant_id=made)
    browser = app.test_client()
    base = "http://localhost.acme.example"
    page = browser.get(f"{base}/auth/login").text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token
    data = {"username": bob.username, "password": bob.password, "csrf_token": token[1]}
    assert browser.post(f"{base}/auth/login", data=data).status_code == 303
    assert browser.get(f"{base}/account").status_code == 200
    ask = ada.get(f"/admin/tenants/{made}/suspend")
    assert ask.status_code == 200
    assert browser.get(f"{base}/account").status_code == 200  # asking changes nothing
    assert post(ada, f"/admin/tenants/{made}/suspend", {"reason": ""}).status_code == 422
    answer = post(ada, f"/admin/tenants/{made}/suspend", {"reason": "unpaid"})
    assert answer.status_code == 303
    assert browser.get(f"{base}/account").status_code == 403
    again = post(ada, f"/admin/tenants/{made}/suspend", {"reason": "twice"})
    assert again.status_code == 409
    with tenant_scope(made):
        assert set(session().scalars(sa.select(IAMAuthSession.state))) == {"revoked"}
    assert post(ada, f"/admin/tenants/{made}/reactivate", {"reason": "paid"}).status_code == 303
    assert browser.get(f"{base}/account").location.startswith("/auth/login")
    assert browser.get(f"{base}/auth/login").status_code == 200
    for name, reason in (("TENANT_SUSPENDED", "unpaid"), ("TENANT_REACTIVATED", "paid")):
        rows = audit_rows(name)
        assert {row.tenant_id for row in rows} == {tenant, made}
        assert {row.details["reason"] for row in rows} == {reason}


def test_k1_no_tenant_is_made_below_a_suspended_one(ada: FlaskClient, tenant: uuid.UUID) -> None:
    partner = make(ada, tenant, slug="works", type="partner")
    client = make(ada, partner, slug="globex")
    post(ada, f"/admin/tenants/{partner}/suspend", {"reason": "unpaid"})
    assert stored(client).status == "active"
    assert ada.get(f"/admin/tenants/{partner}/new").status_code == 409


def test_n2_all_that_is_wrong_with_a_new_tenant_is_said_at_once(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    wrong = {"slug": "UMBRA!", "name": "", "admin_email": "nobody"}
    answer = post(ada, f"/admin/tenants/{tenant}/new", NEW | wrong)
    assert answer.status_code == 422
    assert set(re.findall(r'id="(\w+)-error"', answer.text)) == {"name", "slug", "admin_email"}


def test_n2_a_suspended_tenant_offers_what_can_be_done_with_it(
    app: Flask,
    admin_of: Callable[..., FlaskClient],
    tenant: uuid.UUID,
) -> None:
    root = admin_of("root", ("super_admin",))
    made = make(root, tenant)
    there = f"/admin/tenants/{made}"
    page = root.get(there).text
    assert f"{there}/access" in page
    assert ">Suspend…</a>" in page  # three dots: a page that asks comes first
    post(root, f"{there}/suspend", {"reason": "unpaid"})
    page = root.get(there).text
    assert f"{there}/access" not in page
    assert "/invite" not in page
    assert ">Reactivate…</a>" in page
    data = {"admin_email": "boss@acme.example"}
    refused = post(root, f"{there}/invite", data, page=f"{there}/edit")
    assert refused.status_code == 409
    assert "This tenant is suspended" in run(app, "invite", "acme", "a@acme.example", code=1)


# First administrator


def test_k5_only_a_tenant_without_people_gets_a_first_administrator(
    ada: FlaskClient, tenant: uuid.UUID, make_user: Callable[..., Someone]
) -> None:
    made = make(ada, tenant)
    there = f"/admin/tenants/{made}"
    data = {"admin_email": "boss@acme.example"}
    assert post(ada, f"{there}/invite", data, page=there).status_code == 303
    assert len(invitations(made)) == 1
    assert post(ada, f"{there}/invite", {"admin_email": "x"}, page=there).status_code == 422
    make_user("bob", tenant_id=made)
    assert "/invite" not in ada.get(there).text
    refused = post(
        ada, f"{there}/invite", {"admin_email": "ada@evil.example"}, page=f"{there}/edit"
    )
    assert refused.status_code == 409
    assert [item.email for item in invitations(made)] == ["boss@acme.example"]


def test_k5_a_newer_first_administrator_replaces_the_older_whatever_the_address(
    ada: FlaskClient, tenant: uuid.UUID, audit_rows: Callable[..., Any]
) -> None:
    made = make(ada, tenant, admin_email="wrong@acme.example")
    there = f"/admin/tenants/{made}"
    data = {"admin_email": "boss@acme.example"}
    assert "A newer invitation replaces the older one." in ada.get(there).text
    assert post(ada, f"{there}/invite", data, page=there).status_code == 303
    still_open = [item.email for item in invitations(made) if item.revoked_at is None]
    assert still_open == ["boss@acme.example"]
    (revoked,) = audit_rows("INVITATION_REVOKED")
    assert (revoked.tenant_id, revoked.details["reason"]) == (made, "replaced")


def test_at_422_a_first_administrator_who_got_too_much_mail_is_said_beside_the_form(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    made = make(ada, tenant, slug="globex")
    there = f"/admin/tenants/{made}"
    data = {"admin_email": "boss@acme.example"}
    for _time in range(50):
        answer = post(ada, f"{there}/invite", data, page=there)
        if answer.status_code != 303:
            break
    assert answer.status_code == 429
    assert "First administrator" in answer.text
    answer = post(ada, f"/admin/tenants/{tenant}/new", NEW | data)
    assert (answer.status_code, find_by_slug("acme")) == (429, None)
    assert 'value="Acme GmbH"' in answer.text


def test_k4_the_service_makes_a_tenant_only_below_the_acting_persons_own(
    ada: FlaskClient, tenant: uuid.UUID, other_tenant: uuid.UUID
) -> None:
    partner = make(ada, tenant, slug="works", type="partner")
    new = admin.NewTenant("globex", "Globex", "client")
    rights = Grants(permissions={"tenant:create": frozenset({"tenant"})})
    by = Actor("user", partner, new_id())
    for above in (tenant, other_tenant, None):
        with tenant_scope(partner), pytest.raises(below.NotFound), transaction():
            admin.create(new, parent_id=above, actor_grants=rights, actor=by)
    assert find_by_slug("globex") is None


def test_k4_a_tenants_trail_names_who_acts_from_above_as_foreign(
    ada: FlaskClient, tenant: uuid.UUID, audit_rows: Callable[..., Any]
) -> None:
    made = make(ada, tenant)
    form = {"name": "Acme AG", "host": ""}
    assert post(ada, f"/admin/tenants/{made}/edit", form).status_code == 303
    for event in ("TENANT_CREATED", "TENANT_UPDATED"):
        kinds = {row.tenant_id: row.actor_type for row in audit_rows(event)}
        assert (kinds[made], kinds[tenant]) == ("foreign", "user"), event


def test_at_425_a_tenants_name_is_cleaned_as_others_are(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    made = make(ada, tenant, name="Ac\u200bme\u202e")
    assert stored(made).name == "Acme"
    for name in ("See https://evil.example", "\u200b"):
        answer = post(ada, f"/admin/tenants/{made}/edit", {"name": name, "host": ""})
        assert (answer.status_code, stored(made).name) == (422, "Acme")


def test_at_090_a_host_stays_while_its_domain_is_proved(
    ada: FlaskClient, tenant: uuid.UUID
) -> None:
    made = make(ada, tenant, host="login.acme.example")  # acme.example is proved
    actor = system_actor(made, "tests")

    def release(name: str) -> None:
        with tenant_scope(made), transaction():
            query = sa.select(IAMDomain).where(IAMDomain.name == name)
            services_domains.release(session().scalars(query).one(), actor=actor)

    with tenant_scope(made), transaction():
        services_domains.claim("login.acme.example", actor=actor)
    release("login.acme.example")  # it only waited
    assert stored(made).host == "login.acme.example"
    prove(made, "login.acme.example")
    release("acme.example")
    assert stored(made).host == "login.acme.example"
    release("login.acme.example")
    assert stored(made).host is None
    with tenant_scope(made), transaction():  # as the operator gives one, unproved
        session().execute(sa.update(IAMTenant).values(host="id.acme.example"))
        services_domains.claim("acme.example", actor=actor)
    release("acme.example")
    assert stored(made).host == "id.acme.example"


# Command line


def run(app: Flask, *words: str, code: int = 0) -> str:
    found = app.test_cli_runner().invoke(args=["iam", "tenants", *words])
    session().rollback()
    assert found.exit_code == code, found.output
    return found.output


def test_k1_the_command_line_makes_lists_suspends_and_reactivates(
    app: Flask, tenant: uuid.UUID
) -> None:
    said = run(app, "create", "works", "Works", "--type", "partner")
    assert "flask iam tenants invite works" in said
    run(
        app, "create", "acme", "Acme", "--parent", "works",
        "--host", "login.acme.example", "--admin", "boss@acme.example",
    )  # fmt: skip
    listed = run(app, "list").splitlines()
    assert [line.split()[0] for line in listed] == ["default", "works", "acme"]
    assert "login.acme.example" in listed[2]
    run(app, "suspend", "acme", "--reason", "unpaid")
    assert "suspended" in run(app, "list", "--query", "acme")
    run(app, "reactivate", "acme", "--reason", "paid")
    run(app, "invite", "works", "boss@works.example")
    for words in (
        ("create", "admin", "Admin"),
        ("create", "acme", "Acme"),
        ("create", "globex", "Globex", "--parent", "acme"),
        ("create", "globex", "Globex", "--parent", "nobody"),
        ("suspend", "nobody", "--reason", "x"),
        ("suspend", "default", "--reason", "x"),
        ("reactivate", "acme", "--reason", "x"),
    ):
        run(app, *words, code=1)
    said = run(app, "create", "Umbra!", "Umbra", "--host", "localhost", "--admin", "x", code=1)
    for words in ("in small letters", "Enter a host name", "one e-mail address"):
        assert words in said  # all at once, and without the names of fields
    assert "slug:" not in said
    assert "looks like that of another" in run(app, "create", "4cme", "Acme", code=1)
    assert find_by_slug("globex") is None
