"""What the wheel holds, and what it must not (AT-479)."""

from __future__ import annotations

import re
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.hosts.conftest import ROOT, environment, run

FORBIDDEN = re.compile(
    r"(^|/)(tests?|instance|seed|bench|docs|\.git|\.env|__pycache__|hooks?)(/|\.|$)"
    r"|\.(db|sqlite3?|log|pyc|pem|key)$"
)


@pytest.fixture(scope="session")
def names(wheel: Path) -> list[str]:
    """Return the names of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def unwanted(names: list[str]) -> list[str]:
    """Return files that have no business in an installation."""
    return [name for name in names if FORBIDDEN.search(name) and name != "iam/hooks.py"]


def test_at_479_the_wheel_holds_no_test_no_seed_and_no_data(names: list[str]) -> None:
    """Demo accounts with known passwords and test settings must not reach production."""
    assert not unwanted(names)
    assert {name.partition("/")[0] for name in names} == {"iam", _dist_info(names)}


def test_the_wheel_rule_can_fail() -> None:
    for name in ("iam/tests/test_x.py", "iam/instance/iam.db", "iam/seed.py", "db/seed.py"):
        assert unwanted([name]), name
    assert not unwanted(["iam/hooks.py", "iam/auth/static/iam.css"])


def test_the_wheel_holds_everything_the_package_needs(names: list[str]) -> None:
    """Every module, template, style sheet, translation and migration of the checkout."""
    wanted = {
        f"iam/{path.relative_to(ROOT / 'app').as_posix()}"
        for path in (ROOT / "app").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wanted |= {
        f"iam/migrations/{path.relative_to(ROOT / 'db' / 'migrations').as_posix()}"
        for path in (ROOT / "db" / "migrations").rglob("*.py")
    }
    missing = sorted(wanted - set(names))
    assert not missing
    assert "iam/py.typed" in names
    assert any(name.startswith("iam/migrations/versions/") for name in names)


def test_the_wheel_names_its_needs(wheel: Path, names: list[str]) -> None:
    """Dependencies have lower bounds only; `flask iam` is added to apps that embed us, not all."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"{_dist_info(names)}/METADATA").decode())
    assert f"{_dist_info(names)}/entry_points.txt" not in names
    needs = metadata.get_all("Requires-Dist") or []
    assert needs
    assert not [need for need in needs if "==" in need.partition(";")[0] or "<" in need]


@pytest.mark.parametrize("order", [("app", "iam"), ("iam", "app")])
def test_the_same_package_under_two_names_is_refused(
    installed: Path, order: tuple[str, str]
) -> None:
    """Two copies would mean two registries, two key rings and two truths about who is signed in."""
    env = environment(installed, ROOT)
    first, second = order
    program = f"import {first}\ntry:\n    import {second}\nexcept ImportError as e:\n    print(e)"
    assert "both `app` and `iam`" in run([sys.executable, "-c", program], cwd=installed, env=env)[0]


def _dist_info(names: list[str]) -> str:
    (found,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    return found
