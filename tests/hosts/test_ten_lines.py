"""The ten lines of README.md, run as they stand there, from the wheel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hosts.conftest import ROOT, Host, make_host

README = ROOT / "README.md"
_SECTION = re.compile(
    r"^#+[^\n]*\bten lines\b[^\n]*\n+```python[^\n]*\n(.*?)^```", re.M | re.S | re.I
)


def example(text: str) -> str:
    """Return the example below the heading that promises ten lines."""
    found = _SECTION.search(text)
    assert found, "README.md has no python block directly under a heading with 'ten lines'"
    return found.group(1)


def test_the_example_has_ten_lines() -> None:
    """Blank lines aside: what the heading promises."""
    lines = [line for line in example(README.read_text(encoding="utf-8")).splitlines() if line]
    assert len(lines) <= 10


def test_the_search_can_fail() -> None:
    with pytest.raises(AssertionError):
        example("## Something else\n\n```python\nx\n```\n")
    assert example("## In Ten lines\n\n```python host\nx = 1\n```\n") == "x = 1\n"


@pytest.fixture
def host(installed: Path, tmp_path: Path, make_database) -> Host:
    """Return a folder that holds the example as hello.py and nothing else."""
    text = example(README.read_text(encoding="utf-8"))
    assert "SECRET_KEY" in text
    database = make_database()
    if not database.startswith("sqlite"):
        text, count = re.subn(r"sqlite:///[\w.]+", lambda _match: database, text)
        assert count == 1
    (tmp_path / "hello.py").write_text(text, encoding="utf-8")
    return make_host(installed, tmp_path, "hello", database)


@pytest.mark.slow
def test_the_ten_lines_run(host: Host, serve, browse) -> None:
    """A secret key and a database address are all it sets; the three commands follow."""
    host.flask("iam", "init-db")
    host.create_person("ed", "editor")
    host.create_people(vi="viewer")
    where = serve(host)
    browser = browse(where)
    (path,) = re.findall(r'@app\.get\("([^"]+)"\)', example(README.read_text(encoding="utf-8")))
    sent = browser.get(path)
    assert sent.status_code == 303
    assert sent.headers["Location"].startswith("/auth/login")
    assert browser.sign_in("ed").status_code == 303
    assert browser.get(path).status_code == 200
    other = browse(where)
    other.sign_in("vi")
    assert other.get(path).status_code == 403
