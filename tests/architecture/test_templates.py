"""Templates: names a host can override, no inline code, a token in every form, none dead."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import jinja2.meta
import pytest
from jinja2 import nodes

from tests.architecture.source import APP, calls, dotted, listed, snippet, tree

FOLDERS = {
    APP / "auth" / "templates": "iam/",
    APP / "audit" / "templates": "iam/",
    APP / "notify" / "templates": "",
}
MAIL = "iam/mail/"
# The host's own layout, by the setting IAM_LAYOUT_TEMPLATE.
DYNAMIC_NAMES = {"iam_layout"}
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_INLINE = {
    "a script without src": re.compile(r"<script(?![^>]*\bsrc=)", re.IGNORECASE),
    "a style element": re.compile(r"<style\b", re.IGNORECASE),
    "a style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "an on… handler": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
    "an address on another host": re.compile(r"(?:src|href)=\"(?:https?:)?//", re.IGNORECASE),
}
_POST_FORM = re.compile(
    r"<form\b(?:[^>{]|\{[^}]*\}\}?)*method=\"post\".*?</form>", re.DOTALL | re.IGNORECASE
)
_FORM = re.compile(r"<form\b.*?>", re.DOTALL | re.IGNORECASE)
_TOKEN = re.compile(r"form_hidden\(|\bcsrf\(\)|csrf_token")
_RENDERERS = {"render", "pages.render", "render_template", "flask.render_template"}


def templates() -> dict[str, str]:
    """Return every template by the name it is rendered under."""
    found: dict[str, str] = {}
    for folder, prefix in FOLDERS.items():
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".html", ".txt", ".xml"}:
                name = prefix + path.relative_to(folder).as_posix()
                assert name not in found, f"two templates are called {name}"
                found[name] = path.read_text(encoding="utf-8")
    return found


def test_every_template_folder_is_known() -> None:
    """A folder that this module does not read escapes every rule of it."""
    holding = {
        folder
        for path in APP.rglob("*.html")
        for folder in path.parents
        if folder.name == "templates"
    }
    assert holding == set(FOLDERS)


def foreign_names(name: str, text: str) -> Iterator[str]:
    """Names that a template extends, imports or includes and that are not ours."""
    parsed = jinja2.Environment(autoescape=True).parse(text)
    kinds = (nodes.Extends, nodes.Import, nodes.FromImport, nodes.Include)
    for node in parsed.find_all(kinds):
        for target in _targets(node.template):
            if not target.startswith("iam/"):
                yield f"{name}:{node.lineno} takes {target}"


def _targets(node: nodes.Node) -> list[str]:
    if isinstance(node, nodes.Const):
        return [str(node.value)]
    if isinstance(node, (nodes.List, nodes.Tuple)):
        return [target for item in node.items for target in _targets(item)]
    if isinstance(node, nodes.Name) and node.name in DYNAMIC_NAMES:
        return []
    if isinstance(node, nodes.Filter) and node.name == "default" and node.node is not None:
        return _targets(node.node) + [target for item in node.args for target in _targets(item)]
    return [f"a computed name ({type(node).__name__})"]


def test_templates_take_our_names_only() -> None:
    """`layout.html` without `iam/` would be the host's: its page in ours, or ours in its."""
    found = [text for name, body in templates().items() for text in foreign_names(name, body)]
    assert not found, listed(found)


def test_the_names_rule_can_fail() -> None:
    for text in (
        '{% extends "layout.html" %}',
        '{% import "macros.html" as ui %}',
        '{% include "../x.html" %}',
        "{% include chosen %}",
    ):
        assert list(foreign_names("iam/x.html", text)), text
    assert not list(foreign_names("iam/x.html", '{% extends iam_layout|default("iam/l.html") %}'))


def inline_code(name: str, text: str) -> Iterator[str]:
    """Inline scripts, styles and handlers, which the Content-Security-Policy refuses."""
    text = _COMMENT.sub("", text)
    for what, pattern in _INLINE.items():
        # Mail clients apply style attributes only; no policy stands above a mail.
        if name.startswith(MAIL) and what == "a style attribute":
            continue
        for match in pattern.finditer(text):
            yield f"{name}:{text.count(chr(10), 0, match.start()) + 1} has {what}"


def test_no_template_has_inline_code() -> None:
    """The policy is `script-src 'self'; style-src 'self'`: inline code is dead or an injection."""
    found = [text for name, body in templates().items() for text in inline_code(name, body)]
    assert not found, listed(found)


def test_the_inline_rule_can_fail() -> None:
    for text in (
        "<script>alert(1)</script>",
        '<script nonce="x">alert(1)</script>',
        "<style>a{}</style>",
        '<p style="color:red">',
        '<a onclick="x()">',
        '<body\n onload="x()">',
        '<a href="javascript:x()">',
        '<script src="https://cdn.example/x.js"></script>',
    ):
        assert list(inline_code("iam/x.html", text)), text
    assert not list(inline_code("iam/x.html", '<script src="/iam.js" defer></script>'))
    assert not list(inline_code("iam/mail/x.html", '<p style="color:red">'))


def unprotected_forms(name: str, text: str) -> Iterator[str]:
    """Forms without a method, and POST forms without a token."""
    text = _COMMENT.sub("", text)
    for match in _FORM.finditer(text):
        end = text.find("</form>", match.start())
        body = text[match.start() : end if end >= 0 else len(text)]
        line = text.count("\n", 0, match.start()) + 1
        method = re.search(r"method=[\"']?(\w+)", match.group(), re.IGNORECASE)
        if method is None:
            yield f"{name}:{line} a form without a method"
        elif method.group(1).lower() == "post" and not _TOKEN.search(body):
            yield f"{name}:{line} a POST form without a token"
        elif method.group(1).lower() == "get" and _TOKEN.search(body):
            yield f"{name}:{line} a GET form that puts the token into the address"


def test_every_post_form_carries_a_token() -> None:
    """A form without a token is refused by our own check: a button that never works."""
    found = [text for name, body in templates().items() for text in unprotected_forms(name, body)]
    assert not found, listed(found)


def test_the_form_rule_can_fail() -> None:
    assert list(unprotected_forms("x", '<form method="post" action="{{ a > b }}"></form>'))
    assert list(unprotected_forms("x", "<form></form>{{ ui.csrf() }}"))
    assert list(unprotected_forms("x", '<form method="get">{{ ui.csrf() }}</form>'))
    assert not list(unprotected_forms("x", '<form method="post">{{ ui.csrf() }}</form>'))
    assert not list(unprotected_forms("x", '<form method="get"></form>'))


def rendered_names() -> dict[str, str]:
    """Return every template name that code or a template mentions, and where."""
    found: dict[str, str] = {}
    for module in tree():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"iam/[\w/{}-]+\.(html|txt)", node.value):
                    found[node.value] = f"{module.name}:{node.lineno}"
            elif isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "*" for v in node.values]
                found["".join(map(str, parts))] = f"{module.name}:{node.lineno}"
    environment = jinja2.Environment(autoescape=True)
    for name, text in templates().items():
        for target in jinja2.meta.find_referenced_templates(environment.parse(text)):
            if target:
                found[target] = name
    return found


def test_every_rendered_template_exists() -> None:
    """A page that is missing shows only when somebody walks that path."""
    known = set(templates())
    missing = [
        f"{where} renders {name}"
        for name, where in rendered_names().items()
        if name.startswith("iam/") and "*" not in name and name not in known
    ]
    assert not missing, listed(missing)


def test_every_template_is_rendered() -> None:
    """A template that nothing renders is an override that a host writes in vain."""
    mentioned = rendered_names()
    patterns = [Path(name) for name in mentioned if "*" in name]
    dead = [
        name
        for name in templates()
        if name not in mentioned and not any(Path(name).match(str(p)) for p in patterns)
    ]
    assert not dead, listed(dead)


def test_templates_are_named_by_literals() -> None:
    """A template name that comes from a request is a way to read files (AT-447)."""
    found = []
    for module in tree():
        for call in calls(module):
            name = dotted(call.func)
            if name.rpartition(".")[2] in {"render_template_string", "from_string"}:
                found.append(f"{module.name}:{call.lineno} renders text as a template")
            if name not in _RENDERERS or not call.args or module.name == "auth.web.pages":
                continue
            if not _is_fixed(call.args[0]):
                found.append(f"{module.name}:{call.lineno} renders a computed name")
    assert not found, listed(found)


def _is_fixed(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.IfExp):
        return _is_fixed(node.body) and _is_fixed(node.orelse)
    return False


def test_no_template_marks_values_safe() -> None:
    """`|safe` and `autoescape false` turn a name somebody chose into markup (AT-443)."""
    found = [
        f"{name}: {match.group()}"
        for name, text in templates().items()
        if name.endswith(".html")
        for match in re.finditer(r"\|\s*safe\b|autoescape\s+false", _COMMENT.sub("", text))
    ]
    assert not found, listed(found)


def test_the_rendering_rules_can_fail() -> None:
    bad = snippet("auth.routes_login", "render(request.args['page'])")
    (call,) = calls(bad)
    assert not _is_fixed(call.args[0])
    with pytest.raises(AssertionError):
        assert "iam/nothing.html" in templates()
