"""Sizes that a reader can hold: modules of 400 lines, functions of 50, folders of 20 modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.architecture.source import Module, listed, snippet, tree

MODULE_LINES, FUNCTION_LINES, FOLDER_MODULES = 400, 50, 20
# What everything stands on has grown past it; the number may only fall.
ROOMY = {"core": 25}
# Tables and verifiers that follow a specification step by step: name -> the clause they follow.
LONGER: dict[str, str] = {
    "audit.events": "a table: one entry per event of the catalogue",
    "audit.verifier": "one file that an auditor copies: C2SP checkpoints, RFC 9162",
}


def too_long(modules: Iterable[Module]) -> Iterator[str]:
    """Modules and functions over their ceiling."""
    for module in modules:
        if module.lines > MODULE_LINES and module.name not in LONGER:
            yield f"{module.name} has {module.lines} lines"
        for function in module.functions:
            name = f"{module.name}.{function.name}"
            if function.lines > FUNCTION_LINES and name not in LONGER:
                yield f"{name} has {function.lines} lines"


def test_modules_and_functions_stay_readable() -> None:
    """A security decision that does not fit on a screen is one that nobody reviews."""
    found = list(too_long(tree()))
    assert not found, listed(found)


def crowded(modules: Iterable[Module]) -> Iterator[str]:
    """Folders with more modules than a newcomer takes in at a glance."""
    rooms = Counter(module.name.rpartition(".")[0] for module in modules if not module.is_package)
    for room, count in rooms.items():
        if count > ROOMY.get(room, FOLDER_MODULES):
            yield f"{room or 'app'} has {count} modules"


def test_no_folder_is_crowded() -> None:
    """A newcomer finds the room for a thing by its name."""
    found = list(crowded(tree()))
    assert not found, listed(found)


def test_the_folder_rule_can_fail() -> None:
    many = [snippet(f"auth.m{number}", "") for number in range(FOLDER_MODULES + 1)]
    assert list(crowded(many))
    assert not list(crowded(many[1:]))


def test_the_size_rule_can_fail() -> None:
    assert list(too_long([snippet("auth.models", "x = 1\n" * (MODULE_LINES + 1))]))
    body = "    x = 1\n" * FUNCTION_LINES
    assert list(too_long([snippet("auth.models", f"def f():\n{body}")]))
    assert list(too_long([snippet("auth.models", f"class A:\n  def f(self):\n{body}")]))
    assert not list(too_long([snippet("auth.models", "def f():\n    return 1")]))
