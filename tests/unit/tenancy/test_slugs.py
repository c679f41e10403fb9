"""Slugs that nobody can take for another (AT-392)."""

from __future__ import annotations

import pytest

from app.tenancy.slugs import RESERVED, is_reserved, is_well_formed, skeleton


@pytest.mark.parametrize("slug", ["acme", "acme-works", "a1b", "7eleven", "a" * 63])
def test_a_plain_label_is_well_formed(slug: str) -> None:
    assert is_well_formed(slug)
    assert not is_reserved(slug)


@pytest.mark.parametrize(
    "slug",
    [
        "", "a", "ab", "-acme", "acme-", "Acme", "ac me", "acme.works", "acme_works", "a" * 64,
        "xn--80ak6aa92e", "ac--me", "123", "acm\u00e9", "\u0430cme", "acme\n", "acme/..", "acme%00",
    ],
)  # fmt: skip
def test_at_392_another_form_is_refused(slug: str) -> None:
    assert not is_well_formed(slug)


@pytest.mark.parametrize("slug", sorted(RESERVED))
def test_at_392_a_reserved_name_is_reserved(slug: str) -> None:
    assert is_reserved(slug)


@pytest.mark.parametrize(
    "slug",
    [
        "adm1n",
        "ad-min",
        "adrnin",
        "wvvw",
        "a-p-i",
        "r00t",
        "10gin",
        "supp0rt",
        "ma1l",
        "4dmin",
        "por7al",
        "8log",
    ],
)
def test_at_392_what_looks_like_a_reserved_name_is_reserved(slug: str) -> None:
    assert is_reserved(slug)


def test_at_392_lookalikes_share_a_skeleton() -> None:
    assert skeleton("acme-1") == skeleton("acmel")
    assert skeleton("b0rn") == skeleton("bom")
    assert skeleton("acme") != skeleton("acne")
