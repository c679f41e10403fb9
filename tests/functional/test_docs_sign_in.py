"""The pages about single sign-on name settings, reasons, labels and addresses that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask

from app.auth.providers import BUILT_IN
from app.auth.sso.connection import ENDPOINTS, JIT_MODES
from app.auth.sso.settings_sso import SsoSettings
from app.tenancy import services_domains

ROOT = Path(__file__).resolve().parents[2]
HOWTO = ROOT / "docs" / "howto"
PAGES = {
    "google": "sign-in-with-google",
    "azure": "sign-in-with-microsoft",
    "github": "sign-in-with-github",
    "facebook": "sign-in-with-facebook",
    "apple": "sign-in-with-apple",
    "oidc": "sign-in-with-openid",
}
OVERVIEW = "connect-single-sign-on"
# Where a reason is put together: its token's name, and what was wrong with it.
_OF_TOKENS = ("id_token_", "logout_token_")


def page(name: str) -> str:
    return (HOWTO / f"{name}.md").read_text()


def settings_in(text: str) -> dict[str, str]:
    blocks = re.findall(r"```ini\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "=" in line]
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def source() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))


def test_g1_every_built_in_provider_has_its_page(app: Flask) -> None:
    assert {item.name for item in BUILT_IN} == set(PAGES)
    for name, title in PAGES.items():
        assert f"https://<host>/auth/sso/{'<slug>' if name == 'oidc' else name}/callback" in page(
            title
        ), name


@pytest.mark.parametrize("name", [*PAGES.values(), OVERVIEW])
def test_the_settings_of_a_page_exist_and_load(app: Flask, name: str) -> None:
    known = set(SsoSettings.model_fields)
    used = {setting.removesuffix("_FILE") for setting in settings_in(page(name))}
    named = set(
        re.findall(r"`((?:SSO|OIDC|GOOGLE|AZURE|GITHUB|FACEBOOK|APPLE)_[A-Z_]+)\b", page(name))
    )
    events = set(re.findall(r"\bSSO_[A-Z_]+\b", (ROOT / "app/audit/events.py").read_text()))
    unknown = {setting.removesuffix("_FILE") for setting in named} - known - events
    assert used <= known
    assert not unknown
    for setting, value in settings_in(page(name)).items():
        if setting == "SSO_ENDPOINTS":
            assert all(set(own) <= set(ENDPOINTS) for own in json.loads(value).values())
        if setting == "SSO_JIT":
            assert value in JIT_MODES


@pytest.mark.parametrize("name", [*PAGES.values(), OVERVIEW])
def test_the_reasons_of_a_page_exist(name: str) -> None:
    """A reason that nobody records sends an administrator looking for nothing."""
    rows = [line for line in page(name).splitlines() if line.startswith(("| audit:", "| `"))]
    section = page(name).rpartition("## ")[2]
    named = {
        word
        for row in rows
        if row in section
        for word in re.findall(r"`([a-z_.0-9]+)`", row.split("|")[1])
    }
    code = source()
    for word in named:
        if re.fullmatch(r"http_\d{3}", word):
            continue
        tail = word
        for prefix in _OF_TOKENS:
            tail = tail.removeprefix(prefix)
        found = [f'"{word}"', f'"{tail}"', f'"upstream.{word}"']
        claim = word != tail and tail in {"aud", "iss", "exp", "iat", "nonce"}
        assert claim or any(text in code for text in found), word


def test_the_overview_names_what_is_there(app: Flask) -> None:
    text = page(OVERVIEW)
    for mode in JIT_MODES:
        assert f"| `{mode}` |" in text
    assert f"{services_domains.LABEL}.example.org." in text
    assert f'"{services_domains.PREFIX}<token>"' in text
    for title in [*PAGES.values(), "add-a-provider"]:
        assert f"({title}.md)" in text


def test_labels_of_the_admin_pages(app: Flask) -> None:
    """What a page tells people to press is what the buttons say."""
    templates = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.html"))
    shown = templates + source()
    pages = " ".join("".join(map(page, [*PAGES.values(), OVERVIEW])).split())
    for label in (
        "Who gets an account at the first sign-in",
        "Accept the second factor of this provider",
        "Sign people out there, too",
        "End its sessions when it is disabled or deleted",
        "Roles by claims",
        "Not followed",
        "Workspace domains",
        "Tenant ids",
        "Private key (PEM)",
        "Scopes and addresses",
        "Values of “acr” that mean two factors",
        "Accepted type of logout tokens",
        "Check now",
    ):
        assert label in shown, label
        assert f"**{label}**" in pages, label
