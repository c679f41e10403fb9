"""Figures: one JSON line each on stdout as soon as it is known, one table on stderr at the end."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value, what it was compared with, and whether the target was met.

    `met` is None for a figure without a target: it explains another one.
    """

    figure: str
    value: float
    unit: str
    ratio: float | None
    target: str
    met: bool | None
    peer: str
    engine: str


class Report:
    """Collects figures in the order in which they were measured."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def add(
        self,
        figure: str,
        value: float,
        unit: str,
        *,
        engine: str,
        ratio: float | None = None,
        target: str = "",
        met: bool | None = None,
        peer: str = "",
    ) -> None:
        """Print a figure and keep it for the table."""
        shown = None if ratio is None else round(ratio, 3)
        found = Figure(figure, round(value, 3), unit, shown, target, met, peer, engine)
        self.figures.append(found)
        print(json.dumps(asdict(found)), flush=True)

    def table(self) -> None:
        """Write every figure as an aligned table on stderr."""
        head = ("engine", "figure", "value", "unit", "ratio", "target", "met", "compared with")
        words = {None: "", True: "yes", False: "NO"}
        rows = [head] + [
            (
                item.engine, item.figure, f"{item.value:g}", item.unit,
                "" if item.ratio is None else f"{item.ratio:.3f}",
                item.target, words[item.met], item.peer,
            )
            for item in self.figures
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip(), file=sys.stderr)

    @property
    def missed(self) -> list[Figure]:
        """Return the figures whose target was not met."""
        return [item for item in self.figures if item.met is False]
