"""The source tree as the rules of this folder see it: parsed modules, resolved imports.

A rule is a plain function from modules to complaints, so that each test can also
show, on a snippet made for it, that the rule is able to fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"
LEVELS = {
    "core": 0,
    "audit": 1,
    "notify": 2,
    "risk": 2,
    "tenancy": 3,
    "authz": 3,
    "tokens": 4,
    "consent": 4,
    "auth": 5,
    "oauth": 6,
    "scim": 6,
    "webhooks": 6,
    "api": 7,
}
TOP = "(top)"
TOP_LEVEL = 8


@dataclass(frozen=True)
class Import:
    """One imported name: `target` is dotted from the package root for our own, else absolute."""

    target: str
    ours: bool
    level: int
    line: int
    inside: bool

    @property
    def package(self) -> str:
        """Return the package of ours that the name lives in."""
        return package_of(self.target)


@dataclass(frozen=True)
class Function:
    """A function with its dotted name inside the module."""

    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def lines(self) -> int:
        """Return how many lines it has, decorators aside."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1


@dataclass(frozen=True)
class Module:
    """One module of the tree; `name` is dotted from the package root (`auth.models`)."""

    name: str
    text: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        """Return the parsed text."""
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        """Return the top-level package, or `(top)` for a module beside the packages."""
        return package_of(self.name)

    @property
    def stem(self) -> str:
        """Return the last part of the name: what kind of module it is."""
        return self.name.rpartition(".")[2]

    @property
    def lines(self) -> int:
        """Return how many lines the file has."""
        return len(self.text.splitlines())

    @cached_property
    def functions(self) -> list[Function]:
        """Return every function and method, nested ones included."""
        return list(_functions(self.tree, ""))

    @cached_property
    def imports(self) -> list[Import]:
        """Return every imported name."""
        inner = {
            id(node)
            for function in self.functions
            for node in ast.walk(function.node)
            if isinstance(node, (ast.Import, ast.ImportFrom))
        }
        found: list[Import] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [
                    Import(name.name, False, 0, node.lineno, id(node) in inner)
                    for name in node.names
                ]
            elif isinstance(node, ast.ImportFrom):
                found += self._of_from(node, id(node) in inner)
        return found

    def _of_from(self, node: ast.ImportFrom, inside: bool) -> Iterator[Import]:
        parts = self.name.split(".") if self.name else []
        if not self.is_package:
            parts = parts[:-1]
        base = parts[: len(parts) - (node.level - 1)] if node.level > 1 else parts
        prefix = base if node.level else []
        path = [*prefix, *(node.module.split(".") if node.module else [])]
        for name in node.names:
            target = ".".join([*path, name.name])
            yield Import(target, bool(node.level), node.level, node.lineno, inside)

    def function_at(self, node: ast.AST) -> str:
        """Return the innermost function around a node, or `(module)`."""
        around = [item for item in self.functions if any(x is node for x in ast.walk(item.node))]
        return max(around, key=lambda item: item.node.lineno).name if around else "(module)"


def package_of(name: str) -> str:
    """Return the first part of a dotted name where it is one of our packages."""
    first = name.partition(".")[0]
    return first if first in LEVELS else TOP


def level_of(package: str) -> int:
    """Return the level of a package; everything beside the packages is the top."""
    return LEVELS.get(package, TOP_LEVEL)


@lru_cache(maxsize=1)
def tree() -> tuple[Module, ...]:
    """Return every module of `app/`."""
    return tuple(_read(path) for path in sorted(APP.rglob("*.py")))


def snippet(name: str, text: str) -> Module:
    """Return a module that exists nowhere, to show that a rule can fail."""
    return Module(name, text)


def calls(module: Module) -> Iterator[ast.Call]:
    """Yield every call of a module."""
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of names; a call in the chain is written `a().b`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{dotted(node.func)}()"
    return "?"


def listed(complaints: Iterable[str]) -> str:
    """Return complaints one to a line, for the message of a failure."""
    return "\n  " + "\n  ".join(complaints)


def _read(path: Path) -> Module:
    parts = list(path.relative_to(APP).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module(name, path.read_text(encoding="utf-8"), is_package)


def _functions(node: ast.AST, prefix: str) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Function(f"{prefix}{child.name}", child)
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)
