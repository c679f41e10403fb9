"""Canonical forms and checks of names, addresses and numbers (B1, AT-095, AT-438)."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.auth.accounts.account_fields import clean_fields
from app.auth.identity import (
    canonical_email,
    canonical_username,
    check_display_name,
    check_email,
    check_phone,
    check_username,
    is_lookup_safe,
    mask_email,
    mask_identifier,
    mask_phone,
)
from app.core.errors import InvalidInput

K_SIGN = "\u212a"
DOTLESS_I = "\u0131"
DOTTED_CAPITAL_I = "\u0130"


def refused(check, *args, **kwargs):
    with pytest.raises(InvalidInput) as caught:
        check(*args, **kwargs)
    return caught.value.field


# ------------------------------------------------------------ canonical forms


@given(st.text(max_size=80))
@settings(max_examples=600)
def test_at_438_the_canonical_username_is_idempotent(text):
    once = canonical_username(text)
    assert canonical_username(once) == once


@given(st.text(max_size=80))
@settings(max_examples=600)
def test_at_438_the_canonical_email_is_idempotent(text):
    once = canonical_email(text)
    assert canonical_email(once) == once


@given(st.text(alphabet=st.characters(min_codepoint=0x80), min_size=2, max_size=20))
@settings(max_examples=600)
def test_at_438_an_accepted_username_and_its_canonical_form_are_one_account(text):
    try:
        name = check_username(text)
    except InvalidInput:
        return
    canonical = canonical_username(text)
    assert canonical_username(name) == canonical
    assert canonical_username(check_username(canonical)) == canonical


def test_b1_case_is_folded():
    assert canonical_username(" Ada.L ") == canonical_username("ADA.l") == "ada.l"
    assert canonical_email("Ada@EXAMPLE.org") == "ada@example.org"


def test_b1_accents_stay_apart():
    assert canonical_username("jose") != canonical_username("jos\u00e9")
    assert canonical_username("jos\u00e9") == canonical_username("jose\u0301")


def test_b1_sharp_s_and_double_s_are_one_name_by_casefold():
    assert canonical_username("stra\u00dfe") == canonical_username("STRASSE") == "strasse"


def test_at_096_a_k_sign_or_a_full_width_letter_is_no_second_account():
    assert canonical_username(f"{K_SIGN}im") == canonical_username("kim")
    assert canonical_username("\uff4bim") == "kim"


def test_at_096_a_dotless_i_is_another_name_and_cannot_be_registered():
    assert canonical_username(f"m{DOTLESS_I}ke") != canonical_username("mike")
    assert canonical_username(f"M{DOTTED_CAPITAL_I}KE") != canonical_username("mike")
    assert refused(check_username, f"m{DOTLESS_I}ke") == "username"
    assert refused(check_username, f"M{DOTTED_CAPITAL_I}KE") == "username"


def test_at_096_two_domains_are_never_folded_into_one():
    assert canonical_email("u@stra\u00dfe.de") == "u@xn--strae-oqa.de"
    assert canonical_email("u@strasse.de") == "u@strasse.de"
    assert canonical_email("u@B\u00dcCHER.de") == canonical_email("u@xn--bcher-kva.de")


def test_at_439_tags_and_dots_are_not_aliased():
    forms = {"ada@example.org", "a.da@example.org", "ada+x@example.org"}
    assert {canonical_email(form) for form in forms} == forms


# ------------------------------------------------------------------ usernames


@pytest.mark.parametrize(
    "name",
    ["ad", "Ada.Lovelace", "ada_l-1", "\u042e\u043b\u0438\u044f", "jos\u00e9",
     "\u7530\u4e2d\u592a\u90ce",
     "\uae40\ucca0\uc218", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u674ewang", "9lives",
     "a" * 64],
)  # fmt: skip
def test_b1_ordinary_names_of_many_languages_are_accepted(name):
    assert check_username(f"  {name} ") == unicodedata.normalize("NFKC", name)


@pytest.mark.parametrize(
    "name",
    ["", "a", "a" * 65, "a b", "a..b", ".ab", "ab-", "a/b", "a<b", "a'b", "a;b", "ab\n", "a\tb",
     "%61b", "a\\b", "\U0001f600\U0001f600", "\u0149ab", "erased:1"],
)  # fmt: skip
def test_b1_other_characters_and_lengths_are_refused(name):
    assert refused(check_username, name if name != "ab\n" else "ab\nc") == "username"


@pytest.mark.parametrize(
    "name",
    ["\u0430dmin", "p\u0430ypal", "\u0440\u0430\u0443\u0440\u0430", "\u0430\u0441\u0435",
     "\u03bf\u03b1\u03bd",
     "ad\u217ein\u03b9", "\u0251da", "a\u13aab", "goog\u0399e", "ad\u0660"],
)  # fmt: skip
def test_at_437_homoglyphs_and_mixed_scripts_are_refused(name):
    assert refused(check_username, name) == "username"


@pytest.mark.parametrize(
    "name",
    ["a\u200bb", "a\u202eb", "a\u2066b", "a\u00adb", "a\ufeffb", "a\u034fb", "a\u3164b",
     "a\u115fb", "a\ufe0fb",
     "a\U000e0041b", "ab" + "\u0301" * 9, "a\x00b", "a\ud800b", "a\u2028b", "a\ue000b"],
)  # fmt: skip
def test_at_019_and_at_440_invisible_and_broken_characters_are_refused(name):
    assert refused(check_username, name) == "username"


@pytest.mark.parametrize("name", ["a\uff20b", "a\uff0fb", "a\uff1cb", "\u2100b", "\ufdfa"])
def test_at_441_names_are_normalised_before_they_are_judged(name):
    assert refused(check_username, name) == "username"


def test_b1_an_address_is_a_username_only_for_its_owner():
    assert check_username("Ada@Example.org", email="ada@example.org") == "Ada@example.org"
    assert refused(check_username, "ada@example.org") == "username"
    assert refused(check_username, "ada@example.org", email="bob@example.org") == "username"


# -------------------------------------------------------------------- e-mail


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" Ada.L+x@Example.ORG ", "Ada.L+x@example.org"),
        ("u@b\u00fccher.de", "u@xn--bcher-kva.de"),
        ("o'neil@example.ie", "o'neil@example.ie"),
    ],
)
def test_at_439_the_address_is_kept_as_mail_is_delivered(text, kept):
    assert check_email(text) == kept


@pytest.mark.parametrize(
    "text",
    ["", "ada", "ada@", "@example.org", "a@b@example.org", "a@example.org,b@example.org",
     "a@example.org;b@example.org", "a@example.org b@example.org", "Ada <a@example.org>",
     '"a b"@example.org', "a(x)@example.org", "a@example.org.", "a@[192.0.2.1]", "a@localhost",
     "a@example.org\x00", "a@exa\nmple.org", f"{K_SIGN}im@example.org", "a\u200b@example.org",
     "\uff41@example.org", "=?utf-8?q?a?=@example.org", "a%b@example.org", "a!b@example.org",
     "a" * 65 + "@example.org", "a@" + "b" * 250 + ".org", "x" * 100_000],
)  # fmt: skip
def test_at_095_and_at_439_anything_but_one_plain_address_is_refused(text):
    assert refused(check_email, text) == "email"


def test_at_095_a_list_of_addresses_is_refused():
    for value in (["a@example.org", "b@example.org"], {"email": "a@example.org"}, 7, True):
        assert refused(clean_fields, {"email": value}) == "email"


# --------------------------------------------------------------------- phone


def test_b1_numbers_are_kept_in_e164():
    assert check_phone(" +1 (202) 555-0123 ") == "+12025550123"


@pytest.mark.parametrize(
    "text",
    ["", "12025550123", "+1", "+999123", "+1 202 555 0123 ext. 4", "+\u0661202", "+" + "1" * 99],
)
def test_b1_numbers_without_country_or_sense_are_refused(text):
    assert refused(check_phone, text) == "phone_number"


# --------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "text",
    ["", "Ada Lovelace", "J.R.R. Tolkien", "Zo\u00eb", "O\u2019Neil",
     "\u7530\u4e2d \u592a\u90ce", "ada.lovelace",
     "Jean-Luc", "Dr. Who (3)"],
)  # fmt: skip
def test_b6_names_of_people_are_kept(text):
    assert check_display_name(text) == text


def test_at_440_invisible_characters_are_taken_out():
    assert check_display_name(" A\u200bda \u202e Love\u2066lace\u00ad ") == "Ada Lovelace"


@pytest.mark.parametrize(
    "text",
    ["http://evil.example", "see evil.com", "www.evil", "mail a@evil.org", "javascript:x",
     "\uff48\uff54\uff54\uff50\uff1a\uff0f\uff0fx", "free at spam.top now", "x.co",
     "evil\u3002com", "evil\uff61com", "at 10.20.30.40", "evil.\u0440\u0444"],
)  # fmt: skip
def test_at_425_a_name_carries_no_address(text):
    if text == "x.co":
        assert check_display_name(text) == text
        return
    assert refused(check_display_name, text) == "display_name"


@pytest.mark.parametrize(
    "text",
    [
        "<b>",
        "{{7*7}}",
        "{% raw %}",
        "a\nb",
        "a\x00b",
        "a\ud800b",
        "x" * 121,
        "x" + "\u0301" * 9,
        "\uff1cb\uff1e",
    ],
)
def test_at_443_markup_and_control_characters_are_refused(text):
    assert refused(check_display_name, text) == "display_name"


# --------------------------------------------------------------------- masks


def test_m2_masks_keep_little():
    assert mask_email("ada@example.org") == "a\u2026@example.org"
    assert mask_phone("+12025550123") == "\u20260123"
    assert mask_identifier("ada@example.org") == "a\u2026@example.org"
    assert mask_identifier("correct horse battery") == "c\u2026"
    assert mask_identifier("hunter@2") == "h\u2026"
    assert mask_identifier("\u202e\n") == "\ufffd\u2026"
    assert mask_identifier("") == ""


# ---------------------------------------------------------------------- cost


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a." * 100_000,
        "\ufdfa" * 100_000,
        "@" * 100_000,
        "a@" + "a." * 100_000,
        "+" + "1" * 100_000,
    ],
)
def test_at_448_hostile_length_costs_next_to_nothing(text):
    started = time.perf_counter()
    assert not is_lookup_safe(text)
    for check in (check_username, check_email, check_phone, check_display_name):
        refused(check, text)
    canonical_username(text)
    canonical_email(text)
    mask_identifier(text)
    assert time.perf_counter() - started < 0.5
