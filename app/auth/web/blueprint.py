"""Blueprints of our pages: fixed names, own template names, checks before every view.

Template names start with `iam/`, so a host overrides `iam/login.html` by a file
of that name and its own `login.html` never collides with ours.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, current_app
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PrefixLoader

from ..access import access_pages
from . import csrf, current, requests

_APP = Path(__file__).parents[2]
_FOLDERS = (
    _APP / "auth" / "templates",
    _APP / "audit" / "templates",
    _APP / "notify" / "templates" / "iam",
)


class IAMBlueprint(Blueprint):
    """A blueprint whose prefix is a setting; every request to it is checked first."""

    def __init__(self, name: str, prefix_setting: str, suffix: str = "") -> None:
        super().__init__(name, __name__)
        self.prefix_setting = prefix_setting
        self.suffix = suffix
        self.before_request(requests.check)
        if name != "iam_service":  # health and files are the same at every address
            self.before_request(current.check_address)
        self.before_request(csrf.protect)
        if prefix_setting == "IAM_ADMIN_PREFIX":
            self.before_request(access_pages.enter_context)

    def prefix(self, settings: object) -> str:
        """Return the URL prefix under the given settings."""
        return str(getattr(settings, self.prefix_setting)).rstrip("/") + self.suffix


def template_loader() -> BaseLoader:
    """Return the loader of our templates; it comes after a host's own."""
    return PrefixLoader({"iam": ChoiceLoader([FileSystemLoader(folder) for folder in _FOLDERS])})


def is_ours(name: str | None) -> bool:
    """Return whether a blueprint of this name is one of ours."""
    return isinstance(current_app.blueprints.get(name or ""), IAMBlueprint)


account_bp = IAMBlueprint("iam_account", "IAM_ACCOUNT_PREFIX")
"""A person's own pages; `routes_account` and `routes_factors` both add to it."""

auth_bp = IAMBlueprint("iam_auth", "IAM_AUTH_PREFIX")
"""The ways in; `routes_login` and the modules of other ways add to it."""

mfa_bp = IAMBlueprint("iam_mfa", "IAM_AUTH_PREFIX")
"""What a sign-in still needs; `routes_mfa` and `routes_verify` both add to it."""

audit_bp = IAMBlueprint("iam_audit", "IAM_ADMIN_PREFIX", "/audit")
"""The audit trail's pages: list, proofs, statistics; a module each adds to it."""
