"""Every route: its policy, and the same decision by every way to it, over HTTP.

L6, AT-082, AT-139, AT-140, AT-141, AT-147, AT-150, AT-384, AT-385. The url map
is walked, so a new route is held to all of this without anyone writing a test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from app.auth.security import POLICY
from app.auth.web import csrf
from app.auth.web.blueprint import IAMBlueprint
from app.authz.catalogue import NAMES
from tests.architecture.source import Module, dotted, listed, snippet, tree
from tests.conftest import make_app

SAFE = {"GET", "HEAD", "OPTIONS"}
# Open to everybody, and why. May only shrink: a new line here is a door in the wall.
PUBLIC = {
    "home": "the front page tells nothing",
    "iam_auth.login": "the way in",
    "iam_auth.logout": "anybody may sign out; a pending sign-in too",
    "iam_auth.signed_out": "says that the session ended",
    "iam_auth.password_forgot": "people who cannot sign in need it",
    "iam_auth.password_reset": "the link in the message is the proof",
    "iam_auth.sign_in_link": "a way in",
    "iam_auth.sign_in_code": "a way in",
    "iam_auth.sign_in_link_use": "the link in the message is the proof",
    "iam_auth.invitation": "the link in the message is the proof",
    "iam_auth.email_undo": "the link in the message to the former address is the proof",
    "iam_auth.sso_default": "the way in",
    "iam_auth.sso_login": "the way in",
    "iam_auth.sso_discover": "the way in",
    "iam_auth.sso_callback": "the answer to a trip that this browser set out on",
    "iam_auth.sso_link": (
        "tells this browser alone what waits in it; confirming takes the account's owner"
    ),
    "iam_auth.sso_backchannel_logout": (
        "a provider's server calls it; the signed token is the proof"
    ),
    "iam_mfa.verify": "asks by itself for a pending sign-in or a session",
    "iam_mfa.challenge": "asks by itself for a pending sign-in or a session",
    "iam_mfa.choose": "asks by itself for a pending sign-in or a session",
    "iam_recovery.cancel": "the link in the message is the proof",
    "iam_recovery.proceed": "the link in the message is the proof",
    "iam_webauthn.login_options": "the way in; asks by itself for a pending sign-in or a session",
    "iam_webauthn.login_verify": "the way in; asks by itself for a pending sign-in or a session",
    "iam_webauthn.register_options": (
        "asks by itself for a pending enrolment, or a session with fresh proof"
    ),
    "iam_webauthn.register_verify": (
        "asks by itself for a pending enrolment, or a session with fresh proof"
    ),
    "iam_webauthn.register_codes": (
        "asks by itself for the person whose codes they are, pending or signed in"
    ),
    "iam_service.healthz": "load balancers ask it; it tells nothing but up or down",
    "iam_service.accent": "a style sheet made of the colour in its address",
    "iam_service.static_file": "style sheet, script and icon",
    "iam_dev.outbox": "demo mode only, from this machine only",
}
# Public in name, yet they turn a stranger away by themselves.
CACHED = {"iam_service.static_file", "iam_service.accent"}  # their addresses tell all they hold
PUBLIC_BUT_CLOSED = {
    "iam_mfa.verify",
    "iam_mfa.choose",
    "iam_mfa.challenge",
    "iam_webauthn.register_options",
    "iam_webauthn.register_verify",
    "iam_webauthn.register_codes",
}
# What other sites and servers post, without a token of ours, and why that is no hole: neither
# acts for somebody whose cookie might come along. May only shrink.
NO_CSRF_TOKEN = {
    "iam_auth.sso_callback": "noted for the browser's own next request, which is checked",
    "iam_auth.sso_backchannel_logout": "signed by the provider",
}
# Changes that a signed-in person may make to themselves without a fresh proof, and why.
LOGIN_SUFFICES = {
    "iam_account.profile": "name, language and time zone decide no access",
    "iam_account.session_end": "ends access, grants none",
    "iam_account.sessions_end_others": "ends access, grants none",
    "iam_account.device_rename": "a label",
    "iam_account.recovery_cancel": "stops a way in, opens none; must be quick",
    "iam_account.device_untrust": "ends what was granted",
    "iam_account.devices_untrust_all": "ends what was granted",
    "iam_auth.access_leave": "ends access, grants none; must be quick",
    "iam_mfa.step_up": "this is the fresh proof",
    "iam_auth.sso_step_up": "this is the fresh proof",
    "iam_mfa.recovery_saved": "confirms codes that were just shown",
    "iam_mfa.recovery_download": "opens a sealed copy of codes that were just shown, for minutes",
}
# Administration without a fresh proof: takes rights away or only writes about reading.
NO_STEP_UP = {
    "iam_admin.session_end": "ends access, grants none; must be quick in an emergency",
    "iam_admin.user_sessions_end": "ends access, grants none; must be quick in an emergency",
}
HEADERS = (
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
    "Permissions-Policy",
    "Cache-Control",
)


class Route(NamedTuple):
    """One rule of the url map with its policy."""

    endpoint: str
    rule: str
    path: str
    methods: frozenset[str]
    policy: tuple[str, ...]
    takes_json: bool = False

    @property
    def unsafe(self) -> list[str]:
        """Return the methods that may change something."""
        return sorted(self.methods - SAFE)

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of policies, in the order they are checked."""
        return [text.partition(":")[0] for text in reversed(self.policy)]

    def named(self, kind: str) -> set[str]:
        """Return the names that policies of one kind carry."""
        return {
            name.strip()
            for text in self.policy
            if text.partition(":")[0] == kind
            for name in text.partition(":")[2].split(",")
        }


def routes(app: Flask) -> list[Route]:
    """Return every route of ours, and of the stand-alone service."""
    found = []
    for rule in app.url_map.iter_rules():
        blueprint = app.blueprints.get(rule.endpoint.rpartition(".")[0])
        if isinstance(blueprint, IAMBlueprint) or "." not in rule.endpoint:
            found.append(_route(app, rule))
    assert found, "the app has no routes"
    return sorted(found)


def _route(app: Flask, rule: Rule) -> Route:
    view = app.view_functions[rule.endpoint]
    values = {name: _example(name) for name in rule.arguments}
    with app.test_request_context():
        path = app.url_map.bind("localhost").build(rule.endpoint, values)
    methods = frozenset(rule.methods or ())
    takes_json = getattr(view, "__iam_reads_json__", False)
    return Route(rule.endpoint, rule.rule, path, methods, getattr(view, POLICY, ()), takes_json)


def _example(name: str) -> str:
    if name == "filename":
        return "iam.css"
    if name.endswith("_id"):
        return "01940000-0000-7000-8000-000000000001"
    return "totp" if name == "method" else "x" * 43


@pytest.fixture
def all_routes(app: Flask) -> list[Route]:
    """Return the routes of the suite's app."""
    return routes(app)


# ---------------------------------------------------------------- what each route declares


def unguarded(found: Iterable[Route]) -> Iterator[str]:
    """Routes without a policy, with two contradicting ones, or public without being listed."""
    for route in found:
        if not route.policy:
            yield f"{route.endpoint} declares no policy"
        elif "public" in route.kinds and len(route.policy) > 1:
            yield f"{route.endpoint} is public and guarded: {route.policy}"
        elif "public" in route.kinds:
            reason = route.policy[0].partition(": ")[2]
            if PUBLIC.get(route.endpoint) != reason:
                yield f"{route.endpoint} is public, which nobody agreed to: {reason!r}"
        unknown = route.named("permission") - set(NAMES)
        if unknown:
            yield f"{route.endpoint} asks for permissions that do not exist: {sorted(unknown)}"


def test_at_385_every_route_declares_its_policy(app: Flask, database_url: str) -> None:
    """A view without a decorator is open. The demo's extra pages are held to it as well."""
    demo = make_app(database_url, IAM_ENV="demo", TESTING=False)
    found = [*unguarded(routes(app)), *unguarded(routes(demo))]
    assert not found, listed(found)
    known = {route.endpoint for route in routes(demo)}
    assert set(PUBLIC) <= known, f"no longer there: {set(PUBLIC) - known}"


def weakly_guarded(found: Iterable[Route]) -> Iterator[str]:
    """Routes that change something under no more than the right to look."""
    for route in found:
        if not route.unsafe or "public" in route.kinds or "pending" in route.kinds:
            continue
        own = {name for name in route.named("permission") if not _only_reads(name)}
        if "permission" in route.kinds and not own:
            yield f"{route.endpoint} changes under a right to read: {route.policy}"
        elif not own and "step_up" not in route.kinds and route.endpoint not in LOGIN_SUFFICES:
            yield f"{route.endpoint} changes under a mere sign-in: {route.policy}"
        elif own and "step_up" not in route.kinds and route.endpoint not in NO_STEP_UP:
            yield f"{route.endpoint} administers without a fresh proof: {route.policy}"


def _only_reads(permission: str) -> bool:
    return permission == "admin:access" or permission.partition(":")[2] in {"read", "list"}


def test_at_385_every_change_has_a_right_of_its_own(all_routes: list[Route]) -> None:
    """Whoever may see the page of users may not therefore suspend them."""
    found = list(weakly_guarded(all_routes))
    assert not found, listed(found)
    known = {route.endpoint for route in all_routes if route.unsafe}
    assert not set(LOGIN_SUFFICES) - known
    assert not set(NO_STEP_UP) - known


def wrongly_ordered(found: Iterable[Route]) -> Iterator[str]:
    """Routes that ask for a fresh proof before they ask for the right."""
    for route in found:
        order = [kind for kind in route.kinds if kind in {"step_up", "permission"}]
        if order[:1] == ["step_up"] and "permission" in order:
            yield f"{route.endpoint} {route.policy}"


def test_the_right_is_asked_for_before_the_proof(all_routes: list[Route]) -> None:
    """Otherwise somebody without the right proves a factor only to be refused."""
    found = list(wrongly_ordered(all_routes))
    assert not found, listed(found)


def test_the_policy_rules_can_fail() -> None:
    def route(*policy: str, endpoint: str = "x.y", method: str = "POST") -> Route:
        return Route(endpoint, "/x", "/x", frozenset({method}), policy)

    assert list(unguarded([route()]))
    assert list(unguarded([route("public: because")]))
    assert list(unguarded([route("public: the way in", "login", endpoint="iam_auth.login")]))
    assert list(unguarded([route("permission: no:such")]))
    assert not list(unguarded([route("public: the way in", endpoint="iam_auth.login")]))
    assert list(weakly_guarded([route("login")]))
    assert list(weakly_guarded([route("permission: admin:access, user:read")]))
    assert list(weakly_guarded([route("step_up: admin.users", "permission: user:read")]))
    assert list(weakly_guarded([route("permission: user:suspend")]))
    assert not list(weakly_guarded([route("step_up: admin.users", "permission: user:suspend")]))
    assert list(wrongly_ordered([route("permission: user:suspend", "step_up: admin.users")]))


def test_l6_a_new_route_without_a_policy_is_found(database_url: str) -> None:
    """The walk itself is able to fail: a route is added and found."""
    app = make_app(database_url)
    app.add_url_rule("/admin/forgotten", "iam_admin.forgotten", lambda: "open")
    assert [text for text in unguarded(routes(app)) if "iam_admin.forgotten" in text]


def asks_for_get(modules: Iterable[Module]) -> Iterator[str]:
    """Places that take everything but GET for a submitted form."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Compare) and dotted(node.left) == "request.method":
                right = node.comparators[0]
                if isinstance(right, ast.Constant) and right.value == "GET":
                    yield f"{module.name}:{node.lineno} asks for GET; ask for POST"


def test_at_082_views_ask_whether_a_form_was_sent() -> None:
    """HEAD passes the CSRF check as GET does: a view that asks for GET would run it as a POST."""
    found = list(asks_for_get(tree()))
    assert not found, listed(found)


def test_the_get_rule_can_fail() -> None:
    assert list(asks_for_get([snippet("auth.routes_x", "if request.method == 'GET': x()")]))
    assert list(asks_for_get([snippet("auth.routes_x", "if request.method != 'GET': x()")]))
    assert not list(asks_for_get([snippet("auth.routes_x", "if request.method != 'POST': x()")]))


# ---------------------------------------------------------------- what each route answers


class Decision(NamedTuple):
    """What a stranger is told: the status, and the way a redirect points."""

    status: int
    location: str


def ask(client: FlaskClient, method: str, path: str, **kw: Any) -> Any:
    """Send a request to exactly `path`, as it would stand in the WSGI environment."""
    answer = client.open("/", method=method, environ_overrides={"PATH_INFO": path}, **kw)
    answer.close()
    return answer


def decide(client: FlaskClient, method: str, path: str) -> Decision:
    """Return what a request without cookies is answered."""
    client._cookies.clear()
    answer = ask(client, method, path)
    return Decision(answer.status_code, answer.headers.get("Location", "").partition("?")[0])


def twins(path: str) -> Iterator[str]:
    """Yield other spellings that a server, a proxy or a router might take for `path`."""
    head, _, tail = path.rpartition("/")
    yield f"{path}/"
    yield path.upper()
    yield path.title()
    yield f"/{path}"
    yield path.replace("/", "//")
    yield f"{head}//{tail}"
    yield f"{head}/./{tail}"
    yield f"{path}/."
    yield f"{head}/x/../{tail}"
    yield f"{path}.json"
    yield f"{path}.html"
    yield f"{path};x=1"
    yield f"{path}%20"
    yield f"{path}\t"
    yield f"{path}\x00"
    yield path.replace("/", "\\")
    yield path.replace("/", "%2f")
    yield path.replace("/", "/%2e/", 1)


def test_at_082_at_384_no_twin_of_a_route_is_open(client: FlaskClient, all_routes) -> None:
    """A guard that compares text is passed by another spelling; ours stands on the view."""
    found = []
    for route in all_routes:
        if "GET" not in route.methods:
            continue
        expected = decide(client, "GET", route.path)
        for path in twins(route.path):
            got = decide(client, "GET", path)
            if got.status in {301, 308}:  # the router's own spelling: follow it
                got = decide(client, "GET", got.location.removeprefix("http://localhost"))
            if got != expected and got.status not in {400, 404}:
                found.append(f"{route.endpoint}: {path!r} {got}, but {route.path} {expected}")
    assert not found, listed(found)


def test_at_082_other_methods_reach_the_same_decision(client: FlaskClient, all_routes) -> None:
    """HEAD must not read what GET refuses; OPTIONS tells methods and runs no view."""
    found = []
    for route in all_routes:
        if "GET" not in route.methods:
            continue
        expected = decide(client, "GET", route.path)
        if decide(client, "HEAD", route.path) != expected:
            found.append(f"HEAD {route.path}")
        options = ask(client, "OPTIONS", route.path)
        if int(options.headers.get("Content-Length", 0)) or options.status_code not in {
            200,
            204,
            expected.status,
        }:
            found.append(f"OPTIONS {route.path} {options.status_code}")
        found += [
            f"{method} {route.path}"
            for method in ("TRACE", "CONNECT", "PROPFIND")
            if decide(client, method, route.path).status not in {400, 405, 501}
        ]
        overridden = ask(client, "GET", route.path, headers={"X-HTTP-Method-Override": "DELETE"})
        if overridden.status_code != expected.status:
            found.append(f"method override {route.path}")
    assert not found, listed(found)


def test_at_082_head_has_no_effect_for_an_administrator(
    client: FlaskClient, all_routes, make_user, sign_in, audit_rows
) -> None:
    """HEAD with the body of a form writes nothing, however much the sender may do."""
    admin = make_user("root", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")
    victim = make_user("vic")
    sign_in(client, admin)
    before = len(audit_rows())
    data = {"reason": "x", "name": "x", "username": "new", "password": "x", "action": "suspend"}
    quiet = {"iam_audit.export"}  # reading the trail is itself an event, by GET as well
    for route in all_routes:
        if "GET" in route.methods and route.endpoint not in quiet:
            path = route.path.replace(_example("user_id"), str(victim.id))
            ask(client, "HEAD", path, data=data)
    actions = [row.action for row in audit_rows()[before:]]
    assert set(actions) <= {"ACCESS_DENIED"}


def test_a_stranger_sees_nothing_but_the_public_pages(client: FlaskClient, all_routes) -> None:
    """Deny by default, over HTTP: everything else sends a stranger to the sign-in page."""
    found = []
    for route in all_routes:
        if "GET" not in route.methods:
            continue
        got = decide(client, "GET", route.path)
        is_open = route.endpoint in PUBLIC and route.endpoint not in PUBLIC_BUT_CLOSED
        if not is_open and got not in {Decision(303, "/auth/login"), Decision(302, "/auth/login")}:
            found.append(f"{route.endpoint} {got}")
    assert not found, listed(found)


def test_a_stranger_changes_nothing_even_with_a_token(client: FlaskClient, all_routes) -> None:
    """The token only says that our form was used: who may use it is asked besides."""
    token = _token(client.get("/auth/login").text)
    assert token
    found = []
    for route in all_routes:
        is_open = route.endpoint in PUBLIC and route.endpoint not in PUBLIC_BUT_CLOSED
        for method in [] if is_open else route.unsafe:
            answer = _open(client, method, route, {"csrf_token": token})
            place = answer.headers.get("Location", "").partition("?")[0]
            turned_away = (401, "") if route.takes_json else (303, "/auth/login")
            if (answer.status_code, place) != turned_away:
                found.append(f"{method} {route.path} {answer.status_code} {place}")
    assert not found, listed(found)


def test_at_139_no_unsafe_request_passes_without_a_token(
    client: FlaskClient, all_routes, make_user, sign_in
) -> None:
    """Without, with a foreign and with a stale token: 403 for strangers and administrators."""
    page = client.get("/auth/login").text
    foreign = client.application.test_client().get("/auth/login").text
    found = list(_untokened(client, all_routes, {"foreign": _token(foreign)}))
    admin = make_user("root", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")
    sign_in(client, admin)
    found += _untokened(client, all_routes, {"stale": _token(page), "foreign": _token(foreign)})
    assert not found, listed(found)


def test_at_139_only_the_listed_routes_take_posts_without_a_token(app: Flask, all_routes) -> None:
    """A view that forgot the mark is closed; one that got it unseen would be open to any site."""
    marked = {
        route.endpoint
        for route in all_routes
        if getattr(app.view_functions[route.endpoint], csrf._NO_TOKEN, False)
    }
    assert marked == set(NO_CSRF_TOKEN)


def _token(page: str) -> str:
    return page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]


def _untokened(client: FlaskClient, found: list[Route], tokens: dict[str, str]) -> Iterator[str]:
    attempts: dict[str, dict[str, str]] = {"no": {}, "an empty": {"csrf_token": ""}}
    attempts |= {f"a {name}": {"csrf_token": value} for name, value in tokens.items()}
    for route in (route for route in found if route.endpoint not in NO_CSRF_TOKEN):
        for method in route.unsafe:
            for name, data in attempts.items():
                answer = _open(client, method, route, data, Accept="application/json")
                if answer.status_code != 403 or answer.get_json()["type"] != "urn:iam:csrf.refused":
                    yield f"{method} {route.path} with {name} token: {answer.status_code}"


def _open(
    client: FlaskClient, method: str, route: Route, data: dict[str, str], **headers: str
) -> Any:
    """Send a form, or JSON with the token in its header as our scripts do."""
    if not route.takes_json:
        return client.open(route.path, method=method, data=data, headers=headers)
    headers |= {"X-CSRFToken": data["csrf_token"]} if "csrf_token" in data else {}
    return client.open(route.path, method=method, json={}, headers=headers)


def test_at_141_looking_changes_nothing(client: FlaskClient, all_routes) -> None:
    """Routes that only change things refuse GET; no route takes PUT, PATCH or DELETE unasked."""
    found = []
    for route in all_routes:
        for method in {"GET", "PUT", "PATCH", "DELETE", "POST"} - route.methods:
            if _others(all_routes, route, method):
                continue
            answer = client.open(route.path, method=method)
            if answer.status_code != 405:
                found.append(f"{method} {route.path} {answer.status_code}")
            elif not answer.headers.get("Allow"):
                found.append(f"{method} {route.path} without Allow")
    assert not found, listed(found)


def _others(found: list[Route], route: Route, method: str) -> bool:
    return any(other.rule == route.rule and method in other.methods for other in found)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"csrf_token": "x"}'),
        ("text/plain", "csrf_token=x"),
        ("application/xml", "<a/>"),
        (None, "csrf_token=x"),
    ],
)
def test_at_140_form_routes_read_forms_only(
    client: FlaskClient, all_routes, content_type: str | None, body: str
) -> None:
    """text/plain is what a foreign page may send without asking; no route guesses a type."""
    found = []
    for route in all_routes:
        for method in route.unsafe:
            if route.takes_json and content_type == "application/json":
                continue
            answer = client.open(route.path, method=method, data=body, content_type=content_type)
            if answer.status_code != 415:
                found.append(f"{method} {route.path} {answer.status_code}")
    assert not found, listed(found)


def test_at_140_json_routes_read_json_only(client: FlaskClient, all_routes) -> None:
    """A foreign page's form must not reach a route whose guard is the type of its body."""
    token = _token(client.get("/auth/login").text)
    found = []
    for route in all_routes:
        for method in route.unsafe if route.takes_json else []:
            for data in (
                {"csrf_token": token},
                {"csrf_token": token, "file": (BytesIO(b"x"), "x")},
            ):
                answer = client.open(route.path, method=method, data=data)
                if answer.status_code != 415:
                    found.append(f"{method} {route.path} {answer.status_code}")
    assert not found, listed(found)
    assert any(route.takes_json for route in all_routes)


ORIGINS = ("https://evil.example", "null", "http://localhost.evil.example", "http://localhost")


def test_at_147_no_answer_opens_itself_to_other_origins(client: FlaskClient, all_routes) -> None:
    """No route answers CORS: neither a reflected origin nor null, nor a preflight."""
    found = []
    for route in all_routes:
        for origin in ORIGINS:
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            for method in sorted(route.methods):
                answer = ask(client, method, route.path, headers=headers)
                found += [
                    f"{method} {route.path} {name}"
                    for name, _value in answer.headers
                    if name.lower().startswith("access-control-")
                ]
    assert not found, listed(found)


def bare(answer: Any, path: str) -> Iterator[str]:
    """Yield the security headers that an answer lacks."""
    for name in HEADERS:
        if name not in answer.headers:
            yield f"{path} {answer.status_code} lacks {name}"
    policy = answer.headers.get("Content-Security-Policy", "")
    if "unsafe-inline" in policy or "frame-ancestors 'none'" not in policy:
        yield f"{path} {answer.status_code} has a weak policy: {policy}"
    if answer.headers.get("X-Content-Type-Options") != "nosniff":
        yield f"{path} may be sniffed"


def test_at_150_every_answer_carries_the_headers(
    client: FlaskClient, all_routes, make_user, sign_in
) -> None:
    """Strangers and administrators; pages, redirects, 403, 404, 405, 415 and OPTIONS."""
    found = list(_headers_of_all(client, all_routes))
    admin = make_user("root", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")
    sign_in(client, admin)
    found += _headers_of_all(client, all_routes)
    for path in ("/nothing", "/auth/nothing", "/admin/nothing", "/iam-static/nothing.css"):
        answer = client.get(path)
        assert answer.status_code == 404
        found += bare(answer, path)
    assert not found, listed(found)


def _headers_of_all(client: FlaskClient, found: list[Route]) -> Iterator[str]:
    for route in found:
        for method in ("GET", "POST", "OPTIONS", "PUT"):
            answer = client.open(route.path, method=method)
            answer.close()
            yield from bare(answer, f"{method} {route.path}")


@pytest.mark.parametrize("endpoint", ["boom", "iam_auth.boom"])
def test_at_150_a_crash_carries_the_headers_too(
    database_url: str, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A 500 is a page of ours: no stack trace, the same headers, and an entry in the log."""
    app = make_app(database_url, TESTING=False, IAM_ENV="development")

    def crash() -> str:
        raise RuntimeError("inner detail")

    app.add_url_rule("/boom", endpoint, crash)
    for accept in ("text/html", "application/json"):
        answer = app.test_client().get("/boom", headers={"Accept": accept})
        assert answer.status_code == 500
        assert "inner detail" not in answer.text
        assert not list(bare(answer, "/boom"))
    assert "RuntimeError" in caplog.text


def test_pages_for_people_are_not_stored(client, all_routes, make_user, sign_in) -> None:
    """A page behind the sign-in must not come back out of a shared computer's cache."""
    sign_in(client, make_user("ann"))
    for route in all_routes:
        if "GET" in route.methods and route.endpoint not in CACHED:
            answer = client.get(route.path)
            assert "no-store" in answer.headers["Cache-Control"], route.path


def test_the_header_rule_can_fail() -> None:
    app = Flask("bare")
    app.add_url_rule("/", "x", lambda: "x")
    assert list(bare(app.test_client().get("/"), "/"))
