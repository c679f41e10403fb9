"""What is declared is used, what is used is declared, and each thing once.

Start-up checks, audit events and settings are read by people from generated
pages: a dead or doubled entry there is a promise that nobody keeps.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from app.audit.events import CATALOGUE, Event
from app.config import SECTIONS
from tests.architecture.source import APP, Module, calls, dotted, listed, snippet, tree

CHECK_ID = re.compile(r"^iam\.[EW]\d{3}\b")
EVENTS_MODULE = "audit.events"
# Keyword parameters of record() that are no metadata.
RECORD_PARAMETERS = {"resource", "status", "error", "changes", "subject_id", "actor"}


def check_ids(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Return every start-up check id with the modules that give it."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                match = CHECK_ID.match(node.value)
                if match:
                    found[match.group()].add(module.name)
    return found


def doubled_check_ids(modules: Iterable[Module]) -> Iterator[str]:
    """Ids that two modules give, and findings whose id is not a literal of the right form."""
    modules = list(modules)
    for name, places in check_ids(modules).items():
        if len(places) > 1:
            yield f"{name} in {', '.join(sorted(places))}"
    for module in modules:
        for call in calls(module):
            if dotted(call.func).rpartition(".")[2] != "Finding" or not call.args:
                continue
            first = call.args[0]
            if not (isinstance(first, ast.Constant) and CHECK_ID.fullmatch(str(first.value))):
                yield f"{module.name}:{call.lineno} the id is not a literal iam.E000 or iam.W000"


def test_ids_of_startup_checks_belong_to_one_module() -> None:
    """An operator looks a refusal up by its id: it must lead to one page and one place."""
    found = list(doubled_check_ids(tree()))
    assert not found, listed(found)


def test_the_check_id_rule_can_fail() -> None:
    one = snippet("auth.settings", 'Finding("iam.E001", "x")')
    assert list(doubled_check_ids([one, snippet("notify.checks", 'Finding("iam.E001", "y")')]))
    assert list(doubled_check_ids([snippet("notify.checks", 'Finding("E1", "y")')]))
    assert list(doubled_check_ids([snippet("notify.checks", 'Finding(name, "y")')]))
    assert not list(doubled_check_ids([one]))


def _event_uses(modules: Iterable[Module]) -> Iterator[tuple[Module, str, int]]:
    """Yield (module, event name, line) of `events.NAME` and of names imported from events."""
    for module in modules:
        if module.name == EVENTS_MODULE:
            continue
        aliases = {item.target.rpartition(".")[2] for item in module.imports if item.ours} & {
            "events"
        }
        imported = {
            item.target.rpartition(".")[2]
            for item in module.imports
            if item.ours and item.target.startswith(f"{EVENTS_MODULE}.")
        }
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and dotted(node.value) in aliases:
                if node.attr.isupper():
                    yield module, node.attr, node.lineno
            elif isinstance(node, ast.Name) and node.id in imported and node.id in CATALOGUE:
                yield module, node.id, node.lineno


def undeclared_events(modules: Iterable[Module]) -> Iterator[str]:
    """Events that code names and the catalogue does not know."""
    from app.audit import events

    for module, name, line in _event_uses(modules):
        if not hasattr(events, name):
            yield f"{module.name}:{line} events.{name}"


def unused_events(modules: Iterable[Module]) -> list[str]:
    """Events that the catalogue promises and nothing writes."""
    used = {name for _module, name, _line in _event_uses(modules)}
    return sorted(set(CATALOGUE) - used)


def test_every_event_in_use_is_declared() -> None:
    """An attribute that does not exist would fail at the moment the evidence is needed."""
    found = list(undeclared_events(tree()))
    assert not found, listed(found)


def test_every_declared_event_is_used() -> None:
    """A catalogue entry that nothing writes is an alarm an operator waits for in vain."""
    found = unused_events(tree())
    assert not found, listed(found)


def test_the_event_rules_can_fail() -> None:
    text = "from ..audit import events\nrecord(events.NO_SUCH_EVENT, actor=actor)"
    assert list(undeclared_events([snippet("auth.sign_in.services_login", text)]))
    assert "LOGIN_FAILED" in unused_events([snippet("auth.sign_in.services_login", "x = 1")])
    text = "from ..audit import events\nrecord(events.LOGIN_FAILED, actor=actor)"
    assert "LOGIN_FAILED" not in unused_events([snippet("auth.sign_in.services_login", text)])


def test_events_are_named_as_their_variable() -> None:
    """Code says `events.LOGIN_FAILED`, the trail says LOGIN_FAILED: a search finds both."""
    from app.audit import events

    for name, value in vars(events).items():
        if isinstance(value, Event):
            assert value.name == name
            assert CATALOGUE[name] is value


def undeclared_metadata(modules: Iterable[Module]) -> Iterator[str]:
    """Metadata keys at `record(events.X, key=…)` that X does not declare."""
    for module in modules:
        for call in calls(module):
            if dotted(call.func).rpartition(".")[2] != "record" or not call.args:
                continue
            event = CATALOGUE.get(dotted(call.args[0]).rpartition(".")[2])
            if event is None:
                continue
            given = {keyword.arg for keyword in call.keywords if keyword.arg}
            for name in sorted(given - RECORD_PARAMETERS - event.fields):
                yield f"{module.name}:{call.lineno} {event.name} does not declare {name!r}"
            if "actor" not in given:
                yield f"{module.name}:{call.lineno} {event.name} without an actor"


def test_metadata_at_every_call_is_declared() -> None:
    """`record` refuses an undeclared key at run time; here it is found before that path runs."""
    found = list(undeclared_metadata(tree()))
    assert not found, listed(found)


def test_the_metadata_rule_can_fail() -> None:
    bad = "record(events.LOGIN_FAILED, password='x', actor=actor)"
    assert list(undeclared_metadata([snippet("auth.sign_in.services_login", bad)]))
    assert list(undeclared_metadata([snippet("x", "record(events.LOGOUT)")]))
    good = "record(events.LOGIN_FAILED, resource=user, reason='x', actor=actor)"
    assert not list(undeclared_metadata([snippet("auth.sign_in.services_login", good)]))


def _declared_settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for section in SECTIONS:
        for name in section.model_fields:
            found[name].append(section.__name__)
    return found


def unread_settings(names: Iterable[str], modules: Iterable[Module], pages: str) -> list[str]:
    """Settings that nothing reads: neither `x.NAME`, nor the name as text, nor a template."""
    read: set[str] = set()
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.add(node.value)
    return sorted(name for name in names if name not in read and name not in pages)


def test_every_setting_is_read() -> None:
    """A setting that nothing reads lets an operator believe in a protection that is not there."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in APP.rglob("templates/**/*.*"))
    found = unread_settings(_declared_settings(), tree(), pages)
    assert not found, listed(found)


def test_every_setting_is_declared_once() -> None:
    """Two declarations mean two defaults, and which one holds depends on who asks."""
    doubled = {name: where for name, where in _declared_settings().items() if len(where) > 1}
    assert not doubled


def test_every_section_is_gathered() -> None:
    """A Section that config.py does not list is neither validated nor documented."""
    classes = {
        node.name
        for module in tree()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and any(dotted(base).rpartition(".")[2] == "Section" for base in node.bases)
    }
    assert classes == {section.__name__ for section in SECTIONS}


def test_every_setting_says_what_it_is() -> None:
    """The description is the only documentation that reference page, `.env` and CLI share."""
    for section in SECTIONS:
        assert section.title, section
        for name, field in section.model_fields.items():
            assert (field.description or "").strip(), name
            assert name == name.upper()


def test_the_settings_rule_can_fail() -> None:
    declared = "class S(Section):\n    NOBODY_READS_ME: int = setting(1, 'x')"
    assert unread_settings(["NOBODY_READS_ME"], [snippet("auth.settings", declared)], "")
    read = "x = S.current().NOBODY_READS_ME"
    assert not unread_settings(["NOBODY_READS_ME"], [snippet("auth.web.pages", read)], "")


def unsent(names: Iterable[str], modules: Iterable[Module], owner: str, verb: str) -> list[str]:
    """Names of `owner` that no module sends or calls: `signals.X.send(…)`, `hooks.x(…)`."""
    used: set[str] = set()
    for module in modules:
        if module.stem != owner:
            used |= {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    return sorted(f"{verb} {name}" for name in names if name not in used)


def test_every_signal_is_sent_and_every_hook_is_called() -> None:
    """A host that listens to a signal nobody sends has written code that never runs."""
    from app import Hooks, signals

    declared = [name for name in vars(signals) if name[0].islower() and name.islower()]
    names = [name for name in declared if hasattr(getattr(signals, name), "send")]
    hooks = [name for name in vars(Hooks) if not name.startswith("_")]
    assert names
    assert hooks
    found = unsent(names, tree(), "signals", "nobody sends")
    found += unsent(hooks, tree(), "hooks", "nobody calls")
    assert not found, listed(found)


def test_the_signal_rule_can_fail() -> None:
    text = "from ..core import signals\nsignals.user_created.send(app)"
    module = snippet("auth.accounts.services_accounts", text)
    assert not unsent(["user_created"], [module], "signals", "x")
    assert unsent(["user_deleted"], [module], "signals", "x")
    assert unsent(["user_created"], [snippet("core.signals", "x.user_created")], "signals", "x")
