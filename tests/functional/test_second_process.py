"""A change of rights made in one process bites at the next request of another (L3)."""

from __future__ import annotations

from app.authz import services_rbac
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from tests.conftest import post
from tests.support.second_process import second_process


def test_l3_rights_change_on_a_second_process_at_the_next_request(
    app, database_url, realm, sign_in
) -> None:
    """Roles given and taken, what a role holds, a person and an organization moved."""
    with tenant_scope(realm.tenant), transaction():
        role_id = services_rbac.create_role(
            "reader",
            permissions={"admin:access": "tenant", "domain:read": "tenant"},
            actor_grants=None,
            actor=system_actor(realm.tenant, "tests"),
        ).id
    tokens = {}
    for name in ("cleo", "bea"):
        browser = app.test_client()
        sign_in(browser, realm.people[name])
        tokens[name] = browser.get_cookie("iam_session").value
    tina = app.test_client()
    sign_in(tina, realm.people["tina"])
    tom = f"/admin/users/{realm.people['tom'].id}"
    cleo = f"/admin/users/{realm.people['cleo'].id}"
    session().rollback()

    with second_process(database_url) as elsewhere:

        def sees(name, path):
            return elsewhere.get(tokens[name], path)[0]

        assert sees("cleo", "/admin/domains") == 403
        assert post(tina, f"{cleo}/roles", {"role": str(role_id)}, page=cleo).status_code == 303
        assert sees("cleo", "/admin/domains") == 200
        changed = {"name": "reader", "permission-admin:access": "tenant"}
        assert post(tina, f"/admin/roles/{role_id}/edit", changed).status_code == 303
        assert sees("cleo", "/admin/domains") == 403
        assert sees("bea", tom) == 404
        moved = {"name": "Crew", "type": "team", "parent_id": str(realm.places["Beta"])}
        place = f"/admin/organizations/{realm.places['Crew']}/edit"
        assert post(tina, place, moved).status_code == 303
        assert sees("bea", tom) == 200
        assert sees("cleo", tom) == 404

        # A change is one look at the tables more, once; no request asks for it otherwise.
        _status, warm = elsewhere.get(tokens["cleo"], "/account/profile")
        assert elsewhere.get(tokens["cleo"], "/account/profile")[1] == warm
        with tenant_scope(realm.tenant):
            admin = services_rbac.find_role("client_admin").id
            session().rollback()
        url = f"{cleo}/roles/{admin}/revoke"
        assert post(tina, url, {}, page=cleo).status_code == 303
        assert sees("cleo", "/admin/users") == 403
        assert elsewhere.get(tokens["cleo"], "/account/profile")[1] == warm
