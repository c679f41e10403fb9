"""A named set of plug-ins: factors, gateways, providers, detectors.

A registry refuses a name twice, so that an extension cannot silently replace a
guard (attack AT-470), and lists its names when an unknown one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from .errors import Misconfigured


class Named(Protocol):
    """Anything with a stable name."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Plug-ins by name; `kind` is used in messages."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, item: T) -> T:
        """Register `item`. Raises Misconfigured where the name is taken."""
        if item.name in self._items:
            raise Misconfigured(f"{self.kind} {item.name!r} is registered twice")
        self._items[item.name] = item
        return item

    def get(self, name: str) -> T:
        """Return the plug-in called `name`. Raises Misconfigured where there is none."""
        try:
            return self._items[name]
        except KeyError:
            known = ", ".join(sorted(self._items)) or "none"
            raise Misconfigured(f"unknown {self.kind} {name!r}; known: {known}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.values())

    def names(self) -> list[str]:
        """Return the registered names in order of registration."""
        return list(self._items)
