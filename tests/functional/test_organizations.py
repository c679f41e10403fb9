"""Pages of organizations: the tree, create, rename, move, close; for whole tenants and parts."""

from __future__ import annotations

import re

import pytest

from app.core.errors import Forbidden
from app.core.scoping import tenant_scope
from app.tenancy import services_tenants
from tests.conftest import csrf_of, post

ROOT = "/admin/organizations"


def names(page):
    """Return the organizations that the tree shows, in order."""
    return re.findall(r'/admin/organizations/[0-9a-f-]{36}">([^<]+)</a>', page)


def values(name, above="", kind="client"):
    """Return a filled-in form."""
    return {"name": name, "type": kind, "parent_id": str(above)}


def edit(browser, realm, place, above, name=None):
    """Send the form of one organization; return the answer."""
    url = f"{ROOT}/{realm.places[place]}/edit"
    return post(browser, url, values(name or place, above))


# ------------------------------------------------------------------------------------ the tree


def test_k3_the_tree_shows_what_lies_below_what(enter, realm) -> None:
    page = enter("tina").get(ROOT).text
    assert names(page) == ["Beta", "Umbrella", "North", "Crew"]
    depths = re.findall(r'class="iam-depth-(\d)"', page)
    assert depths == ["0", "0", "1", "2"]
    people = re.findall(r'<td class="iam-num">(\d+)</td>', page)
    assert people == ["2", "2", "3", "1"]


def test_k4_a_delegated_administrator_sees_their_part(enter, realm) -> None:
    cleo = enter("cleo")
    assert names(cleo.get(ROOT).text) == ["North", "Crew"]
    assert names(enter("pia").get(ROOT).text) == ["Umbrella", "North", "Crew"]
    north = cleo.get(f"{ROOT}/{realm.places['North']}").text
    assert "Umbrella" not in north
    assert str(realm.places["Umbrella"]) not in north
    assert re.search(r">4</a>", north)  # three in it, one below
    for place in ("Umbrella", "Beta"):
        assert cleo.get(f"{ROOT}/{realm.places[place]}").status_code == 404
    assert cleo.get(f"{ROOT}?q=beta").text.count("No organization has this in its name") == 1


def test_n2_the_tree_is_searched_by_name(enter, realm) -> None:
    tina = enter("tina")
    assert names(tina.get(f"{ROOT}?q=NORT").text) == ["North"]
    assert "No organization has this in its name" in tina.get(f"{ROOT}?q=%25").text


def test_an_empty_tenant_is_told_what_organizations_are_for(client, make_user, sign_in) -> None:
    sign_in(client, make_user("root", roles=["tenant_admin"], mfa="totp"))
    page = client.get(ROOT).text
    assert "No organization yet" in page
    assert f"{ROOT}/new" in page


def test_at_361_people_without_rights_are_refused(client, make_user, sign_in) -> None:
    assert client.get(ROOT).status_code == 303
    sign_in(client, make_user("dev", roles=["developer"], mfa="totp"))
    assert client.get(ROOT).status_code == 403
    assert client.get(f"{ROOT}/new").status_code == 403


def test_l1_reading_does_not_mean_changing(app, realm, make_user, sign_in) -> None:
    browser = app.test_client()
    sign_in(browser, make_user("grace", roles=["auditor"], mfa="totp"))
    page = browser.get(f"{ROOT}/{realm.places['North']}")
    assert page.status_code == 200
    assert "Edit" not in page.text
    assert "Close…" not in page.text
    token = csrf_of(browser.get("/account").text)
    for act in ("new", f"{realm.places['North']}/edit", f"{realm.places['North']}/close",
                f"{realm.places['North']}/reopen"):  # fmt: skip
        assert browser.post(f"{ROOT}/{act}", data={"csrf_token": token}).status_code == 403


# ---------------------------------------------------------------------------- create and change


def test_k3_an_organization_is_created_renamed_and_moved(enter, realm, audit_rows) -> None:
    tina = enter("tina")
    answer = post(tina, f"{ROOT}/new", values("South", realm.places["Umbrella"]))
    assert answer.status_code == 303
    assert "South" in tina.get(answer.headers["Location"]).text
    assert [row.details["name"] for row in audit_rows("ORGANIZATION_CREATED")][-1] == "South"
    assert edit(tina, realm, "North", realm.places["Beta"], "North Star").status_code == 303
    moved = realm.organization("North")
    assert (moved.name, moved.parent_id) == ("North Star", realm.places["Beta"])
    changes = audit_rows("ORGANIZATION_UPDATED")[-1].changes
    assert changes["name"] == ["North", "North Star"]
    top = post(tina, f"{ROOT}/new", values("Top"))
    assert top.status_code == 303


def test_k3_open_organizations_of_one_place_differ_by_name(enter, realm) -> None:
    tina, umbrella = enter("tina"), realm.places["Umbrella"]
    for answer in (
        post(tina, f"{ROOT}/new", values(" NORTH ", umbrella)),
        edit(tina, realm, "Crew", umbrella, "north"),
        edit(tina, realm, "Beta", "", "umbrella"),
    ):
        assert answer.status_code == 409
        assert 'id="name-error"' in answer.text
    assert post(tina, f"{ROOT}/new", values("North", realm.places["Beta"])).status_code == 303
    assert edit(tina, realm, "North", umbrella, "NORTH").status_code == 303  # its own name


def test_k3_a_closed_organization_holds_no_name_and_reopens_beside_no_other(enter, realm) -> None:
    tina = enter("tina")
    url = f"{ROOT}/{realm.place('Annex')}"
    assert post(tina, f"{url}/close", {}).status_code == 303
    assert post(tina, f"{ROOT}/new", values("annex")).status_code == 303
    refused = post(tina, f"{url}/reopen", {})
    assert refused.status_code == 409
    assert "has this name already" in refused.text


def test_at_366_a_refused_name_tells_nothing_of_what_lies_beside_ones_own(enter, realm) -> None:
    pia, umbrella = enter("pia"), f"{ROOT}/{realm.places['Umbrella']}"
    assert post(pia, f"{umbrella}/edit", values("Beta", "stays")).status_code == 303
    assert "Close…" not in pia.get(umbrella).text


def test_k3_no_organization_lies_below_itself(enter, realm) -> None:
    tina = enter("tina")
    page = tina.get(f"{ROOT}/{realm.places['Umbrella']}/edit").text
    assert str(realm.places["Crew"]) not in re.findall(r'<option[^>]*value="([^"]+)"', page)
    answer = edit(tina, realm, "Umbrella", realm.places["Crew"])
    assert answer.status_code == 422
    assert realm.organization("Umbrella").parent_id is None


@pytest.mark.parametrize("name", ["", "x" * 121, "\u202eevil"])
def test_an_organization_has_a_name_that_can_be_read(enter, realm, name) -> None:
    tina = enter("tina")
    answer = post(tina, f"{ROOT}/new", values(name))
    assert answer.status_code in {303, 422}
    assert (answer.status_code == 303) is name.startswith("\u202e")
    assert "\u202e" not in tina.get(ROOT).text  # dropped, as in the names of people


def test_k4_a_partner_administrator_builds_below_their_own(enter, realm) -> None:
    pia = enter("pia")
    page = pia.get(f"{ROOT}/new").text
    assert str(realm.places["Beta"]) not in page
    assert "the top level" not in page
    assert post(pia, f"{ROOT}/new", values("West", realm.places["Umbrella"])).status_code == 303
    for above in (realm.places["Beta"], ""):
        answer = post(pia, f"{ROOT}/new", values("Nowhere", above))
        assert answer.status_code in {403, 422}, above
    assert edit(pia, realm, "Crew", realm.places["Umbrella"]).status_code == 303
    assert realm.organization("Crew").parent_id == realm.places["Umbrella"]


def test_k4_nothing_is_moved_out_of_or_into_a_part_that_is_not_theirs(enter, realm) -> None:
    pia = enter("pia")
    for place, above in (("North", realm.places["Beta"]), ("North", "")):
        before = realm.organization(place).parent_id
        answer = edit(pia, realm, place, above)
        assert answer.status_code in {403, 422}, (place, above)
        assert realm.organization(place).parent_id == before
    beta = f"{ROOT}/{realm.places['Beta']}/edit"
    token = csrf_of(pia.get("/account").text)
    data = values("Mine", realm.places["Umbrella"]) | {"csrf_token": token}
    assert pia.post(beta, data=data).status_code == 404


def test_k4_the_topmost_of_ones_own_stays_where_it_is(enter, realm) -> None:
    """It may be renamed; above it is somebody else's, and its id is not told."""
    realm.place("Holding")
    tina = enter("tina")
    assert edit(tina, realm, "Umbrella", realm.places["Holding"]).status_code == 303
    pia = enter("pia")
    url = f"{ROOT}/{realm.places['Umbrella']}/edit"
    page = pia.get(url).text
    assert str(realm.places["Holding"]) not in page
    assert "Where it is now" in page
    assert post(pia, url, values("Umbrella Ltd", "")).status_code == 403
    assert post(pia, url, values("Umbrella Ltd", "stays")).status_code == 303
    renamed = realm.organization("Umbrella")
    assert (renamed.name, renamed.parent_id) == ("Umbrella Ltd", realm.places["Holding"])
    assert pia.get(f"{ROOT}/{realm.places['Umbrella']}/close").status_code == 404
    with pytest.raises(Forbidden), tenant_scope(realm.tenant):
        services_tenants.close_organization(
            realm.organization("Umbrella"), actor_grants=_grants(pia), actor=_actor(realm)
        )


def test_k4_a_move_changes_who_administers_from_the_next_click(enter, realm) -> None:
    cleo, bea, tina = enter("cleo"), enter("bea"), enter("tina")
    tom = f"/admin/users/{realm.people['tom'].id}"
    assert cleo.get(tom).status_code == 200
    assert bea.get(tom).status_code == 404
    assert edit(tina, realm, "Crew", realm.places["Beta"]).status_code == 303
    assert cleo.get(tom).status_code == 404
    assert bea.get(tom).status_code == 200


# ------------------------------------------------------------------------------- close and open


def test_k3_an_organization_is_closed_once_nobody_is_in_it(enter, realm, audit_rows) -> None:
    tina = enter("tina")
    url = f"{ROOT}/{realm.places['Crew']}/close"
    answer = post(tina, url, {})
    assert answer.status_code == 409
    for page in (answer, tina.get(url)):  # said at once, not after a button
        assert "People are still in it" in page.text
        assert f"/admin/users?organization={realm.places['Crew']}" in page.text
        assert "Close the organization" not in page.text
    tom = f"/admin/users/{realm.people['tom'].id}/disable"
    assert post(tina, tom, {"reason": "left the company"}).status_code == 303
    assert post(tina, url, {}).status_code == 303
    assert realm.organization("Crew").status == "closed"
    assert audit_rows("ORGANIZATION_UPDATED")[-1].changes == {"status": ["active", "closed"]}
    for form in ("/admin/users/new", f"{ROOT}/new"):
        assert str(realm.places["Crew"]) not in tina.get(form).text
    new = {"username": "new", "email": "new@example.com", "actor_type": "end_user",
           "parent_id": str(realm.places["Crew"])}  # fmt: skip
    assert post(tina, "/admin/users/new", new).status_code == 422
    assert post(tina, f"{ROOT}/new", values("Sub", realm.places["Crew"])).status_code == 422
    again = f"{ROOT}/{realm.places['Crew']}/reopen"
    assert post(tina, again, {}).status_code == 303
    assert realm.organization("Crew").status == "active"


def test_k3_an_organization_with_open_ones_below_stays_open(enter, realm) -> None:
    tina = enter("tina")
    realm.place("Empty")
    realm.place("Emptier", "Empty")
    refused = post(tina, f"{ROOT}/{realm.places['Empty']}/close", {})
    assert refused.status_code == 409
    assert "Organizations below it are still open" in refused.text
    assert post(tina, f"{ROOT}/{realm.places['Emptier']}/close", {}).status_code == 303
    assert post(tina, f"{ROOT}/{realm.places['Empty']}/close", {}).status_code == 303
    answer = post(tina, f"{ROOT}/{realm.places['Emptier']}/reopen", {})
    assert answer.status_code == 422
    assert "closed" in answer.text


def test_at_366_organizations_of_another_tenant_are_not_there(
    enter, realm, other_tenant, make_user
) -> None:
    from app.core.actor import system_actor
    from app.core.db import transaction

    with tenant_scope(other_tenant), transaction():
        foreign = services_tenants.create_organization(
            "Foreign", kind="client", actor_grants=None, actor=system_actor(other_tenant, "tests")
        ).id
    tina = enter("tina")
    for act in ("", "/edit", "/close", "/reopen"):
        assert tina.get(f"{ROOT}/{foreign}{act}").status_code == 404
    answer = post(tina, f"{ROOT}/new", values("Below", foreign))
    assert answer.status_code == 422
    nick = {"username": "nick", "email": "nick@example.com", "actor_type": "end_user",
            "parent_id": str(foreign)}  # fmt: skip
    url = f"/admin/users/{realm.people['nick'].id}/edit"
    assert post(tina, url, nick).status_code == 422


def _grants(browser):
    from app.auth.web.current import current_principal

    with browser.application.test_request_context(
        headers={"Cookie": f"iam_session={browser.get_cookie('iam_session').value}"}
    ):
        person = current_principal()
        assert person is not None
        return person.grants


def _actor(realm):
    from app.core.actor import Actor

    return Actor(kind="user", tenant_id=realm.tenant, user_id=realm.people["pia"].id)
