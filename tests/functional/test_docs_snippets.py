"""What the documents show in Python can be imported: the package is `iam`, here it is `app`."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "howto"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def imports_of(page: Path) -> list[tuple[str, str]]:
    """Return module and name of every import from our package on a page."""
    return [
        (node.module or "", alias.name)
        for block in _BLOCK.findall(page.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_a7_what_a_document_imports_is_there(page: Path) -> None:
    for module, name in imports_of(page):
        root, dot, rest = module.partition(".")
        assert root != "app", f"{page.name}: the package is called iam"
        if root == "iam":
            assert hasattr(import_module(f"app{dot}{rest}"), name), (page.name, module, name)
