"""Who may import whom (DESIGN: levels, kinds), and how. Allow-lists may only shrink."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tests.architecture.source import (
    TOP,
    Module,
    calls,
    dotted,
    level_of,
    listed,
    snippet,
    tree,
)

# (module, imported): why. An entry that no longer occurs fails the test that reads it.
UPWARD_ALLOWED = {
    ("auth.web.limits", "extensions.limiter"): (
        "decorators need Flask-Limiter's instance at import time; extensions.py holds instances "
        "and imports nothing of ours"
    ),
}
ROUTES_IMPORTED = {
    "auth.routes_admin": "one blueprint, several modules: the first brings the others in",
}
REQUEST_ALLOWED = {
    "core.i18n": "the language of a text depends on the reader; works outside a request too",
    "auth.web.links": "a loopback address is taken from the request in development only",
    "auth.web.tenant_address": (
        "the address a request came by names its tenant; services read it through links alone"
    ),
}
INNER_IMPORTS = {
    ("audit.verifier", "pymysql"): "runs alone; only whoever reads a MySQL database needs it",
    ("cli", "db.seed.seed"): "the checkout has it, the wheel does not (AT-479)",
    ("notify.gateways.twilio", "twilio"): "a slow vendor library, paid for by its users only",
    ("notify.gateways.twilio", "requests"): "comes with the vendor library",
    ("notify.gateways.vonage", "vonage"): "a slow vendor library, paid for by its users only",
    ("notify.gateways.vonage", "vonage_http_client"): "part of the vendor library",
    ("notify.gateways.vonage", "vonage_sms"): "part of the vendor library",
    ("notify.gateways.vonage", "requests"): "comes with the vendor library",
}

# Leaves: they describe, so they may know nothing but the core and one another's kind.
LEAVES = ("models", "errors", "settings", "events")
# Knows nothing but the core itself: what a model says of its table, or of its columns.
PURE = {
    "audit.append_only": "the triggers that guard a table are part of its definition",
    "audit.personal.ciphers": "how a value stands in an encrypted column",
}
# What only the side of the request may touch.
REQUEST_NAMES = {
    "request", "session", "g", "Response", "make_response", "redirect", "jsonify", "abort",
    "flash", "render_template_string", "after_this_request", "stream_with_context",
    "send_file", "send_from_directory", "has_request_context",
}  # fmt: skip
WEB_MODULES = {
    "auth.web.blueprint",
    "auth.web.csrf",
    "auth.web.current",
    "auth.web.http_errors",
    "auth.web.limits",
    "auth.web.pages",
    "auth.web.requests",
    "auth.security",
}


def is_routes(name: str) -> bool:
    """Return whether a module holds routes."""
    return name.rpartition(".")[2].startswith("routes_")


def is_web(module: Module) -> bool:
    """Return whether a module stands on the side of the request."""
    return (
        is_routes(module.name)
        or module.name in WEB_MODULES
        or module.stem.startswith("forms")
        or module.stem.endswith("_pages")
        or module.package == TOP
    )


def is_leaf(module: Module) -> bool:
    """Return whether a module is a model, error, settings or event module."""
    first = module.stem.partition("_")[0]
    return first in LEAVES and module.package not in {TOP, "core"}


def upward_imports(modules: Iterable[Module]) -> Iterator[str]:
    """Imports from the same or a higher level; routes and forms may look up to those of auth."""
    for module in modules:
        if module.package == TOP:
            continue
        for item in module.imports:
            if not item.ours or item.package == module.package:
                continue
            if level_of(item.package) < level_of(module.package):
                continue
            if is_web(module) and item.package != TOP:
                continue
            if (module.name, item.target) not in UPWARD_ALLOWED:
                yield f"{module.name}:{item.line} imports {item.target}"


def test_packages_import_downwards_only() -> None:
    """A lower package that knows a higher one cannot be understood, tested or reused alone.

    Packages of one level meet through signals, the outbox or the audit stream.
    """
    found = list(upward_imports(tree()))
    assert not found, listed(found)


def test_the_downward_rule_can_fail() -> None:
    bad = [
        snippet("core.clock", "from ..audit.events import LOGIN_FAILED"),
        snippet("notify.models", "from ..risk import models"),
        snippet("tenancy.services_tenants", "from .. import iam"),
        snippet("notify.gateways.smtp", "from ...auth import services_login"),
        snippet("audit.routes_admin", "from .. import factory"),
    ]
    assert len(list(upward_imports(bad))) == len(bad)
    good = snippet("audit.routes_admin", "from ..auth.security import requires_login")
    assert not list(upward_imports([good]))


def imported_routes(modules: Iterable[Module]) -> Iterator[str]:
    """Routes imported by anything but iam.py."""
    for module in modules:
        for item in module.imports:
            named = [part for part in item.target.split(".") if part.startswith("routes_")]
            if not item.ours or not named or module.name == "iam":
                continue
            if module.name not in ROUTES_IMPORTED:
                yield f"{module.name}:{item.line} imports {item.target}"


def test_only_the_extension_imports_routes() -> None:
    """Routes are the edge: what they share belongs in a service or a page helper."""
    found = list(imported_routes(tree()))
    assert not found, listed(found)


def test_the_routes_rule_can_fail() -> None:
    bad = snippet("auth.sign_in.services_login", "from .routes_login import onwards")
    assert list(imported_routes([bad]))
    assert list(imported_routes([snippet("factory", "from .auth import routes_login")]))
    assert not list(imported_routes([snippet("iam", "from .auth import routes_login")]))


def knowing_leaves(modules: Iterable[Module]) -> Iterator[str]:
    """Models, errors, settings and events that import more than the core and other leaves."""
    for module in modules:
        if not is_leaf(module):
            continue
        for item in module.imports:
            if not item.ours or item.package == "core":
                continue
            names = item.target.split(".")
            if any(name.partition("_")[0] in LEAVES for name in names[1:-1]):
                continue
            if item.target in PURE or item.target.rpartition(".")[0] in PURE:
                continue
            if names[-1].partition("_")[0] not in LEAVES:
                yield f"{module.name}:{item.line} imports {item.target}"


def test_what_leaves_may_know_besides_knows_the_core_only() -> None:
    """The exception holds as long as it drags nothing along."""
    modules = {module.name: module for module in tree()}
    for name in PURE:
        assert {item.package for item in modules[name].imports if item.ours} <= {"core"}, name


def test_models_errors_settings_and_events_know_the_core_only() -> None:
    """Leaves are what everything imports: whatever they import, everything drags along.

    `auth.models` re-exports the models below it, so that one import yields the catalogue.
    """
    found = list(knowing_leaves(tree()))
    assert not found, listed(found)


def test_the_leaf_rule_can_fail() -> None:
    bad = [
        snippet("auth.models", "from .services_login import sign_in"),
        snippet("auth.settings", "from .password_rules import Policy"),
        snippet("audit.events", "from ..notify.messages import MAIL"),
        snippet("auth.errors", "from ..extensions import db"),
    ]
    assert len(list(knowing_leaves(bad))) == len(bad)
    assert not list(knowing_leaves([snippet("auth.models", "from ..risk.models import IAMDevice")]))


def request_users(modules: Iterable[Module]) -> Iterator[str]:
    """Modules off the request's side that touch the request, the cookie session or an answer."""
    for module in modules:
        if is_web(module) or module.name in REQUEST_ALLOWED:
            continue
        for item in module.imports:
            library, _, name = item.target.rpartition(".")
            if library.partition(".")[0] == "flask" and name in REQUEST_NAMES:
                yield f"{module.name}:{item.line} imports {item.target}"
            if library.startswith("werkzeug") and name in {"Response", "Request"}:
                yield f"{module.name}:{item.line} imports {item.target}"
        yield from _by_attribute(module)


def _by_attribute(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute) or dotted(node.value) != "flask":
            continue
        if node.attr in REQUEST_NAMES:
            yield f"{module.name}:{node.lineno} uses flask.{node.attr}"


def test_services_know_no_request_and_return_no_response() -> None:
    """A service takes an Actor: the command line, a test and a host call it as a browser does."""
    found = list(request_users(tree()))
    assert not found, listed(found)


def test_the_request_rule_can_fail() -> None:
    bad = [
        snippet("auth.sign_in.services_login", "from flask import request"),
        snippet(
            "auth.sign_in.services_login", "import flask\n\ndef f():\n    return flask.session"
        ),
        snippet("notify.delivery", "from flask import jsonify"),
        snippet("auth.factors.totp", "from werkzeug.wrappers import Response"),
        snippet("core.db", "from flask import g"),
    ]
    assert len(list(request_users(bad))) == len(bad)


def web_side_users(modules: Iterable[Module]) -> Iterator[str]:
    """Modules off the request's side that import one on it."""
    by_name = {module.name: module for module in tree()}
    for module in modules:
        if is_web(module):
            continue
        for item in module.imports:
            target = by_name.get(item.target) or by_name.get(item.target.rpartition(".")[0])
            if not item.ours or target is None or target.name == "" or not is_web(target):
                continue
            if (module.name, item.target) not in UPWARD_ALLOWED:
                yield f"{module.name}:{item.line} imports {item.target}"


def test_services_import_nothing_of_the_web_side() -> None:
    """Through a page helper or `current`, the request would come in by the back door."""
    found = list(web_side_users(tree()))
    assert not found, listed(found)


def test_the_web_side_rule_can_fail() -> None:
    bad = [
        snippet("auth.sign_in.services_login", "from ..web.current import request_actor"),
        snippet("auth.sign_in.services_login", "from ..web import pages"),
        snippet("notify.delivery", "from ..auth.forms import IAMForm"),
    ]
    assert len(list(web_side_users(bad))) == len(bad)


def absolute_imports(modules: Iterable[Module]) -> Iterator[str]:
    """Imports of ourselves by name."""
    for module in modules:
        for item in module.imports:
            if not item.ours and item.target.partition(".")[0] in {"app", "iam"}:
                yield f"{module.name}:{item.line} imports {item.target}"


def test_the_package_never_names_itself() -> None:
    """It is `app` in the checkout and `iam` in the wheel: only relative imports work in both."""
    found = list(absolute_imports(tree()))
    assert not found, listed(found)


def test_the_name_rule_can_fail() -> None:
    bad = [
        snippet("auth.models", "from app.core import db"),
        snippet("auth.models", "import app.core.db"),
        snippet("auth.models", "from iam import IAM"),
    ]
    assert len(list(absolute_imports(bad))) == len(bad)
    assert not list(absolute_imports([snippet("cli", "from .iam import IAM")]))


def inner_imports(modules: Iterable[Module]) -> Iterator[str]:
    """Imports inside functions, and imports by a computed name."""
    for module in modules:
        for item in module.imports:
            if not item.inside:
                continue
            names = {item.target, item.target.partition(".")[0]}
            if not any((module.name, name) in INNER_IMPORTS for name in names):
                yield f"{module.name}:{item.line} imports {item.target} inside a function"
        for call in calls(module):
            if dotted(call.func) in {"importlib.import_module", "import_module", "__import__"}:
                yield f"{module.name}:{call.lineno} imports by a computed name"


def test_imports_stand_at_the_top() -> None:
    """An import inside a function hides a circle, and fails in production instead of at start."""
    found = list(inner_imports(tree()))
    assert not found, listed(found)


def test_the_inner_import_rule_can_fail() -> None:
    bad = [
        snippet("auth.models", "def f():\n    from .errors import CodeInvalid"),
        snippet("auth.models", "class A:\n    def f(self):\n        import json"),
        snippet("auth.models", "import importlib\nimportlib.import_module('x')"),
    ]
    assert len(list(inner_imports(bad))) == len(bad)


def test_the_allow_lists_of_imports_hold_nothing_stale() -> None:
    """Allow-lists may only shrink: an entry nobody needs is an open door."""
    modules = {module.name: module for module in tree()}
    stale: list[str] = []
    for name, target in UPWARD_ALLOWED:
        if target not in {item.target for item in modules[name].imports}:
            stale.append(f"UPWARD_ALLOWED {name} -> {target}")
    for name, target in INNER_IMPORTS:
        inner = [item.target for item in modules[name].imports if item.inside]
        if not any(target in {item, item.partition(".")[0]} for item in inner):
            stale.append(f"INNER_IMPORTS {name} -> {target}")
    for names, part in ((REQUEST_ALLOWED, "flask."), (ROUTES_IMPORTED, "routes_")):
        stale += [
            f"{name} no longer imports {part}"
            for name in names
            if not any(part in item.target for item in modules[name].imports)
        ]
    stale += [f"WEB_MODULES {name}" for name in WEB_MODULES if name not in modules]
    assert not stale, listed(stale)
