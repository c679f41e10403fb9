"""Pages of a person's address and number, and of the way back (B6), over HTTP."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.auth.models import IAMAuthSession
from app.core import clock
from app.core.db import session, transaction
from tests.conftest import PASSWORD, post, totp_code
from tests.support.mailbox import code_to, link_to, messages, wrong
from tests.support.people import add_channel, load

EMAIL, CONTACT_PHONE, UNDO = "/account/email", "/account/phone", "/auth/email/undo/"
ANN, NEW, THIEF = "ann@example.com", "ann.new@example.org", "thief@evil.example"
PHONE = "+12025550123"
PASSWORD_PAGE = "/account/security/password"
NEW_PASSWORD = "violet ladder under seven moons"


@pytest.fixture
def ann(scoped, make_user):
    return make_user("ann")


@pytest.fixture
def inside(client, ann, sign_in):
    """Return a browser in which ann is signed in, a moment ago."""
    sign_in(client, ann)
    return client


def change(client, address=NEW):
    assert post(client, EMAIL, {"email": address}).headers["Location"] == EMAIL
    return post(client, EMAIL, {"code": code_to(address)})


def undo_link():
    return link_to(ANN, UNDO)


def fresh(person):
    session().rollback()
    return load(person.id)


def test_b6_an_address_is_changed_by_the_code_that_went_there(inside, ann):
    assert ANN in inside.get(EMAIL).text
    post(inside, EMAIL, {"email": NEW})
    page = inside.get(EMAIL)
    assert "a…@example.org" in page.text
    assert fresh(ann).email == ANN
    assert post(inside, EMAIL, {"code": wrong(code_to(NEW))}).status_code == 401
    answer = post(inside, EMAIL, {"code": code_to(NEW)}, follow_redirects=True)
    assert "Your e-mail address is changed." in answer.text
    assert NEW in answer.text
    assert fresh(ann).email_verified is True


def test_b6_the_profile_leads_to_both_pages(inside):
    page = inside.get("/account").text
    assert f'href="{EMAIL}"' in page
    assert f'href="{CONTACT_PHONE}"' in page


@pytest.mark.parametrize("page", [EMAIL, CONTACT_PHONE, PASSWORD_PAGE])
def test_at_103_at_049_every_change_needs_fresh_authentication(inside, page):
    assert inside.get(page).status_code == 200
    with clock.travel(timedelta(minutes=11)):
        answer = inside.get(page)
        assert "/auth/step-up" in answer.headers["Location"]
        field = {"email": NEW, "phone_number": PHONE, "current": PASSWORD}
        token_page = "/account"
        assert post(inside, page, field, page=token_page).status_code == 303
        assert messages() == []
        form = {"password": PASSWORD, "purpose": "account.security", "next": page}
        back = post(inside, "/auth/step-up", form, page=answer.headers["Location"])
        assert back.headers["Location"] == page
        assert inside.get(page).status_code == 200


def test_at_049_a_strong_factor_is_asked_for_where_there_is_one(client, make_user, sign_in):
    person = make_user("bob", mfa="totp")
    sign_in(client, person)
    with clock.travel(timedelta(minutes=11)):
        where = client.get(EMAIL).headers["Location"]
        assert client.get(where).headers["Location"].startswith("/auth/mfa/verify")
        form = {"code": totp_code(person.totp_secret), "purpose": "account.security"}
        post(client, "/auth/mfa/verify", form, page="/auth/mfa/verify?purpose=account.security")
        assert client.get(EMAIL).status_code == 200


def test_at_103_the_code_page_needs_it_too(inside, ann):
    post(inside, EMAIL, {"email": NEW})
    code = code_to(NEW)
    with clock.travel(timedelta(minutes=9)):
        session().execute(
            update(IAMAuthSession).values(
                auth_time=clock.now() - timedelta(minutes=30),
                login_time=clock.now() - timedelta(minutes=30),
            )
        )
        session().commit()
        answer = post(inside, EMAIL, {"code": code}, page="/account")
        assert "/auth/step-up" in answer.headers["Location"]
    assert fresh(ann).email == ANN


def test_at_104_another_session_of_the_same_person_has_no_part_in_it(app, inside, ann, sign_in):
    post(inside, EMAIL, {"email": NEW})
    other = app.test_client()
    sign_in(other, ann)
    assert 'name="code"' not in other.get(EMAIL).text
    assert post(other, EMAIL, {"code": code_to(NEW)}).status_code == 422
    assert fresh(ann).email == ANN


def test_at_014_a_taken_address_gets_the_same_page(app, ann, make_user, sign_in):
    make_user("bob")
    pages = []
    for address in ("bob@example.com", "bab@example.com"):
        person = make_user(f"x{len(pages)}")
        client = app.test_client()
        sign_in(client, person)
        sent = post(client, EMAIL, {"email": address})
        page = client.get(EMAIL)
        pages.append((sent.status_code, sent.headers["Location"], stripped(page.text)))
    assert pages[0] == pages[1]
    assert "tried to use your address" in messages("bob@example.com")[0]["subject"]
    assert code_to("bab@example.com")
    assert not re.search(r"\b\d{6}\b", messages("bob@example.com")[0]["body"])


def stripped(page):
    page = re.sub(r'value="[^"]*"|data-wait-seconds="\d+"', "", page)
    return re.sub(r"x[01]\b|X[01]\b", "", page)


@pytest.mark.parametrize(
    ("value", "said"),
    [(ANN, "your address already"), ("nobody", "one e-mail address"), ("", "Enter an e-mail")],
)
def test_b6_an_address_that_cannot_be_taken_is_said_beside_its_field(inside, value, said):
    answer = post(inside, EMAIL, {"email": value})
    assert answer.status_code == 422
    assert said in answer.text
    assert messages() == []


def test_at_085_another_code_after_a_pause(inside):
    post(inside, EMAIL, {"email": NEW})
    answer = post(inside, EMAIL, {"action": "resend"})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    with clock.travel(timedelta(minutes=2)):
        first = code_to(NEW)
        assert post(inside, EMAIL, {"action": "resend"}).headers["Location"] == EMAIL
        assert len(messages(NEW)) == 2
        if code_to(NEW) != first:
            assert post(inside, EMAIL, {"code": first}).status_code == 401
        other = post(inside, EMAIL, {"email": "third@example.org"}, page=f"{EMAIL}?new=1")
        assert other.status_code == 429


def test_at_034_wrong_codes_are_counted(inside, ann):
    post(inside, EMAIL, {"email": NEW})
    code = code_to(NEW)
    answers = [post(inside, EMAIL, {"code": wrong(code)}).status_code for _ in range(5)]
    assert answers == [401] * 5
    assert post(inside, EMAIL, {"code": code}).status_code == 429
    assert fresh(ann).email == ANN


def test_at_213_a_pending_change_dies_with_a_new_password(inside, ann):
    post(inside, EMAIL, {"email": NEW})
    code = code_to(NEW)
    form = {"current": PASSWORD, "password": NEW_PASSWORD, "password_confirm": NEW_PASSWORD}
    assert post(inside, PASSWORD_PAGE, form).status_code == 303
    assert 'name="code"' not in inside.get(EMAIL).text
    assert post(inside, EMAIL, {"code": code}).status_code == 422
    assert fresh(ann).email == ANN


def test_at_103_the_way_back_is_asked_before_it_is_taken(app, inside, ann):
    change(inside, THIEF)
    owner = app.test_client()
    for _ in range(2):
        page = owner.get(undo_link())
        assert page.status_code == 200
        assert ANN in page.text
        assert "evil" not in page.text
        assert page.headers["Referrer-Policy"] == "no-referrer"
        owner.head(undo_link())
    assert fresh(ann).email == THIEF
    assert owner.post(undo_link()).status_code == 403  # without a form of ours
    answer = post(owner, undo_link(), follow_redirects=True)
    assert "Your address is back" in answer.text
    assert fresh(ann).email == ANN
    assert owner.get(undo_link()).status_code == 404


def test_at_211_the_way_back_signs_everybody_out_and_the_password_is_dead(app, inside, ann):
    change(inside, THIEF)
    owner = app.test_client()
    post(owner, undo_link())
    assert inside.get("/account").status_code == 303
    old = {"username": "ann", "password": PASSWORD}
    assert post(inside, "/auth/login", old).status_code == 401
    reset = link_to(ANN, "/auth/password/reset/")
    both = {"password": NEW_PASSWORD, "password_confirm": NEW_PASSWORD}
    assert post(owner, reset, both).status_code == 303
    new = {"username": "ann", "password": NEW_PASSWORD}
    assert post(owner, "/auth/login", new).headers["Location"] == "/account"


def test_at_210_at_212_ways_in_added_lately_leave_it_to_an_administrator(app, inside, ann):
    with clock.travel(timedelta(minutes=5)):
        change(inside, THIEF)
        add_channel(load(ann.id), "whatsapp_otp")
        owner = app.test_client()
        answer = post(owner, undo_link())
        assert answer.status_code == 200
        assert "The account is locked" in answer.text
        user = fresh(ann)
        assert (user.status, user.email) == ("locked", THIEF)
        assert user.has_active_mfa()
        assert inside.get("/account").status_code == 303
        assert owner.get(undo_link()).status_code == 404


def test_at_103_an_address_that_is_anothers_by_now(app, inside, ann, make_user):
    change(inside, NEW)
    link = undo_link()
    make_user("bob", email=ANN)
    owner = app.test_client()
    answer = post(owner, link)
    assert answer.status_code == 409
    assert "contact an administrator" in answer.text
    assert fresh(ann).email == NEW
    assert inside.get("/account").status_code == 200


@pytest.mark.parametrize("token", ["x", "x" * 500, "a%00b"])
def test_a_way_back_nobody_knows_is_not_found(client, ann, token):
    page = client.get(f"{UNDO}{token}")
    assert page.status_code in {400, 404}


def test_b6_a_number_is_added_changed_and_removed(inside, ann):
    assert "Add a phone" in inside.get(CONTACT_PHONE).text
    post(inside, CONTACT_PHONE, {"phone_number": "+1 202-555-0123"})
    assert "…0123" in inside.get(CONTACT_PHONE).text
    answer = post(inside, CONTACT_PHONE, {"code": code_to(PHONE)})
    assert answer.headers["Location"] == "/account"
    user = fresh(ann)
    assert (user.phone_number, user.phone_verified) == (PHONE, True)
    assert "Change phone" in inside.get("/account").text
    answer = post(inside, CONTACT_PHONE, {"action": "remove"}, follow_redirects=True)
    assert "Your phone number is removed." in answer.text
    assert fresh(ann).phone_number is None
    assert len(messages(PHONE)) == 2  # the code, and that it is gone


def test_b6_a_number_that_cannot_be_used_is_said_beside_its_field(inside):
    answer = post(inside, CONTACT_PHONE, {"phone_number": "2025550123"})
    assert answer.status_code == 422
    assert "country code" in answer.text


def test_at_105_verified_flags_are_not_a_persons_to_set(inside, ann):
    with transaction():
        load(ann.id).email_verified = False
    forged = {"email_verified": "1", "phone_verified": "1", "email": NEW}
    post(inside, EMAIL, forged)
    post(inside, "/account", {"display_name": "Ann", "language": "", "timezone": "", **forged})
    user = fresh(ann)
    assert (user.email, user.email_verified, user.phone_verified) == (ANN, False, False)


def test_at_105_an_administrator_changes_others_addresses_not_their_own(
    client, ann, make_user, sign_in
):
    admin = make_user("root", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")
    sign_in(client, admin)
    form = {"username": "root", "email": NEW, "actor_type": "tenant_admin", "language": ""}
    answer = post(client, f"/admin/users/{admin.id}/edit", form)
    assert answer.status_code == 422
    assert "Change your own" in answer.text
    form = {"username": "ann", "email": NEW, "actor_type": "end_user", "language": ""}
    assert post(client, f"/admin/users/{ann.id}/edit", form).status_code == 303
    user = fresh(ann)
    assert (user.email, user.email_verified) == (NEW, False)
    assert "no longer belongs" in messages(ANN)[0]["body"]


def test_at_103_every_page_of_it_needs_a_session(client):
    for page in (EMAIL, CONTACT_PHONE):
        assert "/auth/login" in client.get(page).headers["Location"]
