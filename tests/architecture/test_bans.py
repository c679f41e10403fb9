"""What only one module may do: commit, tell time, draw randomness, open the network, unscope.

ruff bans the imports as well; this is the second wall, which no `noqa` opens.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.architecture.source import Module, calls, dotted, listed, snippet, tree


class Site(NamedTuple):
    """Where something that needs a reason is done: module, function, the reason it gives."""

    module: str
    function: str
    reason: str


# Owner of each thing that tests must be able to move, seed or close.
TIME = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.sleep",
    "time.localtime", "time.gmtime", "datetime.now", "datetime.utcnow", "datetime.today",
    "date.today",
}  # fmt: skip
RANDOM = {"random", "secrets", "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4"}
NETWORK = {
    "socket", "ssl", "http.client", "urllib.request", "urllib3", "requests", "httpx", "httpcore",
    "smtplib", "ftplib", "telnetlib", "aiohttp", "asyncio", "dns",
}  # fmt: skip
OWNERS = {
    "time": {"core.clock"},
    "randomness": {"core.rng"},
    # DNS has its own door: it asks resolvers, no host; so has syslog: datagrams, no answer.
    "network": {"core.http", "core.network.dns", "core.network.syslog"},
}
# (module, banned name): why. May only shrink.
BANNED_ALLOWED = {
    ("audit.verifier", "datetime.now"): "runs alone, without the package and its clock",
    ("notify.gateways.smtp", "smtplib"): "the one mail gateway; runs after the commit only",
    ("notify.gateways.smtp", "ssl"): "the same: certificates of the mail server are checked",
    ("notify.gateways.twilio", "requests"): "errors of the vendor library's own transport",
    ("notify.gateways.vonage", "requests"): "errors of the vendor library's own transport",
    ("notify.gateways.whatsapp", "httpx"): "error classes; the client comes from core.http",
}
COMMITS = {"core.db"}
# What lifts the tenant guard: for a block, for a statement, for a statement made at import.
LIFTS = {"unscoped", "exempt", "run_prepared"}
SESSION_GET = {
    (
        "auth.sessions.services_sessions",
        "IAMTenant",
    ): "the id is a row's own; tenants are not scoped rows",
}
# The reason is the literal text at the call; changing one here means reading the call again.
UNSCOPED_BY_MODULE = {
    "audit.anchors": {
        "_note": "by the tenant's id",
        "deliver_due": "the checkpoints of every tenant are anchored",
    },
    "audit.sealing.alarms": {
        "_by_tenant": "a check covers every tenant",
        "_told_lately": "by the tenant's id, a parameter",
    },
    "audit.sealing.head": {
        "_check": "by the tenant's id, a parameter",
        "begin_head": "by the tenant's id, a parameter",
        "hold_head": "by the tenant's id, a parameter",
        "may_adopt": "by the tenant's id, a parameter",
        "read_head": "by the tenant's id, a parameter",
    },
    "audit.sealing.sealer": {
        "_ids": "the sealer serves every tenant",
        "_note_sweep": "by its id",
    },
    "audit.sealing.services_checkpoints": {
        "_sign": "by the tenant's id, a parameter",
        "sign_due": "every tenant's trail is signed",
    },
    "audit.sealing.services_proofs": {
        "_leaf_of": "by the tenant in scope, a parameter",
    },
    "audit.sealing.services_seal": {
        "_seal": "by the tenant's id, a parameter",
        "_seal_all": "by the tenant's id, a parameter",
        "_write": "by the tenant's id, a parameter",
        "waiting_tenants": "the sealer serves every tenant",
    },
    "audit.sealing.tree": {
        "stored": "by the tenant's id, a parameter",
    },
    "audit.services_retention": {
        "tenants": "retention is looked at in every tenant",
    },
    "audit.personal.keys": {
        "(module)": "a person has one key, in whichever tenant they act",
    },
    "audit.personal.models_reading": {
        "(module)": "a person has one key, in whichever tenant they act",
    },
    "audit.personal.services_subject_keys": {
        "(module)": "a person has one key, in whichever tenant they act",
    },
    "auth.mfa.services_factors": {
        "mfa_state": "the tenant in scope is a parameter",
    },
    "auth.sign_in.services_login_rows": {
        "_find": "the tenant in scope is a parameter of the statement",
        "admit": "the tenant in scope is a parameter of the statement",
        "hold": "the tenant in scope is a parameter of the statement",
        "start_grace": "the tenant in scope is a parameter of the statement",
        "replace_hash": "the tenant in scope is a parameter of the statement",
    },
    "auth.webauthn.services_passkey": {
        "_enter": "the tenant in scope is a parameter of the statement",
        "_find": "the tenant in scope is a parameter of the statement",
    },
    "auth.webauthn.services_webauthn_challenges": {
        "use_up": "the tenant in scope is a parameter",
    },
    "auth.access.services_access_contexts": {
        "(module)": "a super admin's context leads to a tenant that is not their own",
    },
    "auth.access.services_access_ends": {
        "(module)": "the contexts of every platform are ended when their time is over",
    },
    "auth.access.services_access_list": {
        "(module)": "a tenant sees who of the platform was in it: its id is in each condition",
        "page": "a tenant sees who of the platform was in it: its id is in each condition",
    },
    "auth.sessions.services_session_policy": {
        "end_session": "the session's tenant is a parameter",
    },
    "auth.sessions.services_session_lookup": {
        "find": "the token itself decides the tenant",
    },
    "auth.sessions.services_sessions": {
        "make_room": "the actor's tenant is a parameter",
        "_insert_if_room": "the row carries the tenant of its account",
        "open_session": "the row carries the tenant of its account",
    },
    "notify.critical": {
        "tenants_waiting": "critical events of every tenant are told",
    },
    "notify.services_caps": {
        "_refuse_above": "send caps count what a number receives over all tenants",
    },
    "notify.services_outbox": {
        "drain": "outbox drain serves every tenant",
        "list_recent": "the demo page shows every tenant's messages",
        "purge": "outbox retention serves every tenant",
    },
    "risk.services_devices": {
        "hold_trust": "the actor's tenant is a parameter",
        "newest": "a browser's cookie is one for every account and tenant that is used in it",
        "rotate": "the actor's tenant is a parameter",
    },
    "risk.services_limits": {
        "(module)": "counters are keyed by tenant and serve the installation as a whole",
        "_select_locked": "counters are keyed by tenant and serve the installation as a whole",
        "_write": "counters are keyed by tenant and serve the installation as a whole",
        "clear_all": "counters are keyed by tenant and serve the installation as a whole",
        "give_back": "counters are keyed by tenant and serve the installation as a whole",
    },
    "services_keys": {
        "(module)": "keys belong to the installation, not to one tenant",
    },
    "services_purge": {
        "(module)": "expired rows are deleted in every tenant",
    },
    "auth.invitations.services_invited_roles": {
        "_from_the_platform": (
            "an inviter of the platform is found by the id that the invitation keeps"
        ),
    },
    "tenancy.services_breaches": {
        "_aimed_at": "the asking tenant, the one left out, is a parameter",
    },
    "tenancy.services_domains": {
        "_due": "the proofs of every tenant are looked at again",
    },
    "auth.tenants.services_tenants_below": {
        "_counts": "starts from the tenant in scope and reaches only what lies below it",
        "_read": "starts from the tenant in scope and reaches only what lies below it",
    },
    "tenancy.services_addresses": {
        "_first": "an address decides the tenant; slug, host and id are unique over all of them",
    },
    "tenancy.services_tenants": {
        "check_slug": "a new tenant is compared with all others",
        "create_tenant": "a new tenant is compared with all others",
        "default_tenant_id": "the default tenant is found by its slug",
        "ensure_default_tenant": "the default tenant is found by its slug",
        "find_by_slug": "a tenant is found by its slug",
    },
}
UNSCOPED = {
    Site(module, function, reason)
    for module, sites in UNSCOPED_BY_MODULE.items()
    for function, reason in sites.items()
}


def commits(modules: Iterable[Module]) -> Iterator[str]:
    """Calls of commit outside the unit of work."""
    for module in modules:
        for call in calls(module):
            called = isinstance(call.func, ast.Attribute) and call.func.attr == "commit"
            if called and module.name not in COMMITS:
                yield f"{module.name}:{call.lineno} {dotted(call.func)}()"


def test_only_the_unit_of_work_commits() -> None:
    """A commit in the middle of a service keeps half a change when the other half is refused."""
    found = list(commits(tree()))
    assert not found, listed(found)


def test_the_commit_rule_can_fail() -> None:
    assert list(commits([snippet("auth.sign_in.services_login", "session().commit()")]))
    assert list(commits([snippet("iam", "db.session.commit()")]))
    assert not list(commits([snippet("core.db", "current.commit()")]))


def banned(modules: Iterable[Module]) -> Iterator[tuple[str, str, str]]:
    """Yield (module, name, complaint) of time, randomness and network outside their owners."""
    for module in modules:
        for kind, names in (("time", TIME), ("randomness", RANDOM), ("network", NETWORK)):
            if module.name in OWNERS[kind]:
                continue
            for name, line in _uses(module, names):
                yield module.name, name, f"{module.name}:{line} takes {kind} from {name}"


def _uses(module: Module, names: set[str]) -> Iterator[tuple[str, int]]:
    for item in module.imports:
        for name in names:
            if not item.ours and (item.target == name or item.target.startswith(f"{name}.")):
                yield name, item.line
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            chain = ".".join(dotted(node).split(".")[-2:])
            if chain in names:
                yield chain, node.lineno


def test_time_randomness_and_network_have_one_owner_each() -> None:
    """Tests move the clock, seed randomness and close the network in one place; so do reviewers."""
    found = [text for module, name, text in banned(tree()) if (module, name) not in BANNED_ALLOWED]
    assert not found, listed(found)


def test_the_ownership_rule_can_fail() -> None:
    bad = [
        snippet("auth.models", "import time\nx = time.time()"),
        snippet("auth.models", "from datetime import datetime\nx = datetime.now()"),
        snippet("auth.models", "import datetime\nx = datetime.datetime.utcnow()"),
        snippet("auth.models", "import secrets"),
        snippet("auth.models", "from os import urandom"),
        snippet("auth.models", "import uuid\nx = uuid.uuid4()"),
        snippet("auth.models", "import requests.exceptions"),
        snippet("auth.models", "from urllib import request"),
        snippet("auth.models", "import socket"),
        snippet("auth.models", "import dns.resolver"),
    ]
    for module in bad:
        assert list(banned([module])), module.text
    assert not list(banned([snippet("core.rng", "import secrets")]))
    assert not list(banned([snippet("auth.models", "x = clock.now()")]))


def session_gets(modules: Iterable[Module]) -> Iterator[tuple[str, str, str]]:
    """Yield (module, first argument, complaint) of reads that go round the tenant guard."""
    for module in modules:
        sessions = _session_names(module.tree)
        for call in calls(module):
            func = call.func
            if not isinstance(func, ast.Attribute) or func.attr not in {"get", "get_one", "query"}:
                continue
            source = dotted(func.value)
            if source in sessions or source.endswith(("session()", ".session")):
                argument = dotted(call.args[0]) if call.args else "?"
                text = f"{module.name}:{call.lineno} {source}.{func.attr}({argument})"
                yield module.name, argument, text
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Attribute) or node.attr != "query":
                continue
            if dotted(node.value).startswith("IAM"):
                yield module.name, dotted(node.value), f"{module.name}:{node.lineno} .query"


def _session_names(parsed: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Assign) and _calls(node.value, "session", "Session"):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.withitem) and _calls(node.context_expr, "transaction", "Session"):
            found |= {node.optional_vars.id} if isinstance(node.optional_vars, ast.Name) else set()
    return found


def _calls(node: ast.expr, *names: str) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in names


def test_rows_are_selected_never_fetched_by_identity() -> None:
    """`session.get` may answer from the identity map, without a query and so without a scope."""
    found = [
        text for module, name, text in session_gets(tree()) if (module, name) not in SESSION_GET
    ]
    assert not found, listed(found)


def test_the_identity_rule_can_fail() -> None:
    bad = [
        "session().get(IAMUserAccount, key)",
        "db.session().get_one(IAMUserAccount, key)",
        "current = session()\ncurrent.get(IAMUserAccount, key)",
        "with transaction() as current:\n    current.query(IAMUserAccount)",
        "IAMUserAccount.query.all()",
    ]
    for text in bad:
        assert list(session_gets([snippet("auth.sign_in.services_login", text)])), text
    assert not list(session_gets([snippet("auth.web.current", "g.get('iam_principal')")]))


def unscoped_sites(modules: Iterable[Module]) -> Iterator[Site]:
    """Yield every place that lifts the tenant guard, with the literal reason it gives."""
    for module in modules:
        if module.name in {"core.scoping", "core.db"}:
            continue
        for call in calls(module):
            if dotted(call.func) == "host.exempt":  # Flask-WTF's method of that name
                continue
            if dotted(call.func).rpartition(".")[2] in LIFTS:
                yield Site(module.name, module.function_at(call), _literal(call, module))


def _literal(call: ast.Call, module: Module) -> str:
    """Return the reason: a literal at the call, or a constant of the same module."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
    value = next(iter([*named, *call.args]), None)
    if isinstance(value, ast.Name):
        constants = {
            target.id: node.value
            for node in module.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        value = constants.get(value.id)
    return str(value.value) if isinstance(value, ast.Constant) else "(no literal reason)"


def test_every_lifting_of_the_tenant_guard_is_known() -> None:
    """One forgotten `unscoped` shows one tenant the rows of another: each site is read and listed.

    The list may only shrink; a new site needs its line here and a second reader.
    """
    found = set(unscoped_sites(tree()))
    assert not found - UNSCOPED, listed(map(str, sorted(found - UNSCOPED)))
    assert not UNSCOPED - found, "no longer there: " + listed(map(str, sorted(UNSCOPED - found)))


def test_the_guard_rule_can_fail() -> None:
    texts = [
        "def f():\n    with unscoped('because'):\n        pass",
        "def f():\n    with scoping.unscoped(reason):\n        pass",
        "OPTIONS = exempt('because')",
        "def f():\n    run_prepared(_LOOKUP, {}, reason='because')",
        "def f():\n    run_prepared(_LOOKUP, {}, reason=reason)",
    ]
    for text in texts:
        assert set(unscoped_sites([snippet("auth.sign_in.services_login", text)])) - UNSCOPED, text
    (site,) = unscoped_sites([snippet("auth.sign_in.services_login", texts[0])])
    assert site == Site("auth.sign_in.services_login", "f", "because")


def scoping_options(modules: Iterable[Module]) -> Iterator[str]:
    """Ways round the guard that would need no reason: the raw option, the connection itself."""
    for module in modules:
        if module.name in {"core.scoping", "core.db"}:
            continue
        for call in calls(module):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "connection":
                yield f"{module.name}:{call.lineno} takes the connection below the session"
        for node in ast.walk(module.tree):
            raw = isinstance(node, ast.Constant) and node.value == "iam_unscoped"
            if raw or (isinstance(node, ast.Name) and node.id == "EXEMPT"):
                yield f"{module.name}:{node.lineno} sets the exemption by hand"


def test_nobody_sets_the_exemption_by_hand() -> None:
    """The option behind `exempt(…)` would pass the list above unseen."""
    found = list(scoping_options(tree()))
    assert not found, listed(found)


def test_the_option_rule_can_fail() -> None:
    text = "session().execute(query, execution_options={'iam_unscoped': 'x'})"
    assert list(scoping_options([snippet("auth.sign_in.services_login", text)]))
    text = "session().connection().execute(query)"
    assert list(scoping_options([snippet("auth.sign_in.services_login", text)]))


def test_the_allow_lists_of_bans_hold_nothing_stale() -> None:
    """Allow-lists may only shrink: an entry nobody needs is an open door."""
    used = {(module, name) for module, name, _text in banned(tree())}
    read = {(module, name) for module, name, _text in session_gets(tree())}
    stale = [str(item) for item in BANNED_ALLOWED if item not in used]
    stale += [str(item) for item in SESSION_GET if item not in read]
    assert not stale, listed(stale)
