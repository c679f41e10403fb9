"""A second process of the application on the same database, told what to fetch line by line.

    python -m tests.support.second_process DATABASE_URL

Each line on standard input is `SESSION_TOKEN PATH`; the answer is `STATUS STATEMENTS`:
the status of the page and how many statements the request sent.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class SecondProcess:
    """The other end of the pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def get(self, token: str, path: str) -> tuple[int, int]:
        """Return the status of a page there, and how many statements it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{token} {path}\n")
        self._process.stdin.flush()
        status, statements = self._process.stdout.readline().split()
        return int(status), int(statements)


@contextmanager
def second_process(database_url: str) -> Iterator[SecondProcess]:
    """Run the application in a process of its own."""
    command = [sys.executable, "-m", __name__, database_url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield SecondProcess(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


def main() -> None:
    """Answer until the input ends."""
    from sqlalchemy import event

    from tests.conftest import make_app

    app = make_app(sys.argv[1])
    count = 0

    def note(*_what: Any) -> None:
        nonlocal count
        count += 1

    with app.app_context():
        event.listen(app.extensions["sqlalchemy"].engine, "before_cursor_execute", note)
    for line in sys.stdin:
        token, path = line.split()
        count = 0
        client = app.test_client()
        client.set_cookie("iam_session", token)
        answer = client.get(path)
        print(answer.status_code, count, flush=True)


if __name__ == "__main__":
    main()
