"""The open redirect corpus on every `next`: a path on this site or the default page."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from app.auth.web.redirects import safe_next
from tests.conftest import PASSWORD, csrf_of, post, totp_code

CORPUS = {
    "at_154": ["//evil.example", "///evil.example", "////evil.example", "//evil.example/%2f.."],
    "at_155": [
        "/\\evil.example", "\\\\evil.example", "/\\/evil.example", "\\/\\/evil.example",
        "\\\\\\evil.example",
    ],
    "at_156": [
        "https:evil.example", "https:/evil.example", "http:///evil.example",
        "https:\\\\evil.example", "https://evil.example",
    ],
    "at_157": [
        "https://trusted.example@evil.example", "https://trusted.example%40evil.example",
        "//user:pw@evil.example",
    ],
    "at_159": [
        "https://trusted.example.evil.example", "https://eviltrusted.example",
        "https://trusted.example%2eevil.example",
    ],
    "at_160": [
        "/%09/evil.example", "/%0a/evil.example", "%20//evil.example", "%09//evil.example",
        "ht%0atps://evil.example", "/\t/evil.example", " //evil.example",
    ],
    "at_161": [
        "%2f%2fevil.example", "%252f%252fevil.example", "/%2fevil.example", "/%5cevil.example",
        "/x%3f/..//evil.example",
    ],
    "at_162": ["%00//evil.example", "%01https://evil.example", "//evil.example%00.trusted.example"],
    "at_163": [
        "//evil%E3%80%82example", "//evil%EF%BC%8Eexample", "%EF%BC%8F%EF%BC%8Fevil.example",
    ],
    "at_164": [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java%0d%0ascript:alert(1)",
        "data:text/html,x", "vbscript:x", "blob:x", "file:///etc/passwd",
    ],
    "at_165": [
        "https://trusted.example#@evil.example", "https://evil.example?trusted.example",
        "https://evil.example#trusted.example", "?//evil.example",
    ],
    "at_168": [
        "//2130706433", "//0x7f000001", "//[::ffff:7f00:1]", "//evil.example:443",
        "//evil.example.",
    ],
}  # fmt: skip
CASES = [(row, url) for row, urls in CORPUS.items() for url in urls]
ROWS = sorted(CORPUS)


@pytest.mark.parametrize(
    ("row", "url"), CASES, ids=[f"{row}-{n}" for n, (row, _) in enumerate(CASES)]
)
def test_group_g_the_corpus_is_no_path_of_ours(row, url):
    assert safe_next(url) is None
    decoded = unquote(url)
    assert safe_next(decoded) is None or decoded.startswith("/x?")  # what follows ? is a query


@pytest.mark.parametrize("row", ROWS)
def test_group_g_sign_in_leads_to_the_default_page(client, make_user, row):
    make_user("ann")
    for url in CORPUS[row]:
        form = client.get("/auth/login", query_string={"next": url})
        assert "evil.example" not in form.text.replace(url, "") or form.status_code == 400
        data = {"username": "ann", "password": PASSWORD, "next": url}
        answer = post(client, "/auth/login", data)
        assert answer.status_code in {303, 400}
        if answer.status_code == 303:
            assert answer.headers["Location"] == "/account"
            client.delete_cookie("iam_session")


@pytest.mark.parametrize("row", ROWS)
def test_group_g_a_signed_in_person_is_not_sent_away(client, make_user, sign_in, row):
    sign_in(client, make_user("ann"))
    for url in CORPUS[row]:
        answer = client.get("/auth/login", query_string={"next": url})
        assert answer.headers.get("Location", "/account") == "/account"


def test_group_g_step_up_does_not_lead_away(client, make_user, sign_in):
    person = make_user("ann", mfa="totp")
    sign_in(client, person)
    for url in ("//evil.example", "/\\evil.example", "https://evil.example"):
        page = client.get(
            "/auth/mfa/verify", query_string={"purpose": "account.security", "next": url}
        )
        assert "evil.example" not in page.text
        data = {"purpose": "account.security", "next": url, "csrf_token": csrf_of(page.text)}
        answer = client.post(
            "/auth/mfa/verify", data=data | {"code": totp_code(person.totp_secret)}
        )
        assert "evil.example" not in answer.headers.get("Location", "")


@pytest.mark.parametrize(
    "url", ["/", "/reports", "/reports?year=2026&q=a%20b", "/a/b-c_d.e~f", "/account#top"[:8]]
)
def test_a_plain_path_of_this_site_is_kept(url):
    assert safe_next(url) == url
