"""A worker of `app.py`, and how a test sends tasks to it and hears of their end."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery
from celery.result import AsyncResult

from examples.servers import RedisServer
from tests.outcomes.places import Place
from tests.outcomes.told import PATIENCE_S, Told
from tests.support.process import Script


class CeleryWorker(Told):
    """
    Run a worker, whose aliases are the drivers' names.

    Attributes:
        client: App that sends.
    """

    def __init__(self, script: Script, places: Mapping[str, Place], client: Celery, folder: Path) -> None:
        super().__init__(script, places, folder)
        self.client = client

    def send(self, way: str, driver: str, key: str, **options: Any) -> AsyncResult[Any]:
        """Send one task."""
        return self.client.send_task(f"{way}.{driver}", (key,), **options)

    def ended(self, result: AsyncResult[Any]) -> str:
        """Wait for a task's end; gives its state, and its error's name."""
        result.get(timeout=PATIENCE_S, propagate=False)
        return _describe(result)

    def state(self, result: AsyncResult[Any], *wanted: str) -> str:
        """Give a task's state, and its error's name; waits until it is one *wanted*, for it may come a little later."""
        ends_at = time.monotonic() + PATIENCE_S
        while (found := _describe(result)) not in wanted and time.monotonic() < ends_at:
            time.sleep(0.02)
        return found


def _describe(result: AsyncResult[Any]) -> str:
    meta = result._get_task_meta()
    error = meta["result"] if meta["status"] in ("FAILURE", "REVOKED") else None
    result._cache = None
    return meta["status"] if error is None else f"{meta['status']} {type(error).__name__}"


@contextmanager
def celery_worker(
    redis_server: RedisServer,
    places: Mapping[str, Place],
    folder: Path,
    *options: str,
    is_warm: bool = False,
    **settings: Any,
) -> Iterator[CeleryWorker]:
    """Start a worker, and kill it at the end; *settings* are Celery's."""
    queue = f"outcomes-{uuid.uuid4().hex[:8]}"
    shared = {
        "broker_url": redis_server.url(0),
        "result_backend": redis_server.url(0),
        "result_extended": False,
        "broker_transport_options": {"global_keyprefix": f"{queue}:"},
        "task_default_queue": queue,
        "broker_connection_retry_on_startup": True,
    }
    own = {
        "imports": ["taskconn.celery"],
        "taskconn_databases": {name: {"url": place.url, "warm": is_warm} for name, place in places.items()},
        "worker_prefetch_multiplier": 4,
        **shared,
        **settings,
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.outcomes.app", "worker", "-n", f"{queue}@local"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "info", *options]
    environ = {
        "OUTCOMES_SETTINGS": json.dumps(own),
        "OUTCOMES_RELEASE": str(folder / "release"),
        "OUTCOMES_BOOK": str(folder / "book"),
    }
    client = Celery("client", set_as_current=False, changes=shared)
    with Script(command, environ=environ, log_path=folder / "worker.log") as script:
        script.wait_for(r"\bready\.", PATIENCE_S)
        yield CeleryWorker(script, places, client, folder)
    client.pool.force_close_all()
    client.close()
