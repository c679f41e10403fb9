"""Many workers released by one barrier, against the database of the suite."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from flask import Flask

from app.core.db import session
from app.core.errors import IAMError
from app.core.scoping import tenant_scope

WORKERS = 50


def together(
    app: Flask, tenant: UUID, work: Callable[[], Any], workers: int = WORKERS
) -> Counter[str]:
    """Run `work` in many threads released at once; count what came of it, `ok` or a code."""
    barrier = threading.Barrier(workers)

    def run(_number: int) -> str:
        with app.app_context(), tenant_scope(tenant):
            try:
                session().connection()  # taken before the start, so that nobody queues for one
                session().rollback()
                barrier.wait(60)
                work()
            except IAMError as refusal:
                return refusal.code
            finally:
                session().rollback()
                app.extensions["sqlalchemy"].session.remove()
        return "ok"

    with ThreadPoolExecutor(workers) as pool:
        return Counter(pool.map(run, range(workers)))
