"""A worker that waits gives connections back to their servers after `max_idle`, without another job."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rq.conftest import Workplace, write_module
from tests.support.process import Script

#: `max_idle` of each alias, in seconds.
_IDLE_S = 1.0

#: Longest wait for what comes after `_IDLE_S`, in seconds.
_PATIENCE_S = 30.0

#: Settings and job: it uses a Redis and an SQLite file, neither of which ends a connection by itself, and a MySQL.
SOURCE = """
import os
from taskconn import with_db

REDIS_URL = os.environ["TEST_REDIS_URL"]
urls = {"cache": REDIS_URL, "file": os.environ["TEST_FILE_URL"], "shop": os.environ["TEST_DATABASE_URL"]}
TASKCONN_DATABASES = {alias: {"url": url, "max_idle": %s} for alias, url in urls.items()}

@with_db("cache", into="cache")
@with_db("file", into="file")
@with_db("shop", into="shop")
def use_all(cache, file, shop):
    file.execute("SELECT 1").fetchone()
    shop.cursor().execute("SELECT 1")
    return os.getpid(), cache.client_id()
"""


def _until(happens: Callable[[], object], worker: Script) -> None:
    ends_at = time.monotonic() + _PATIENCE_S
    while not happens():
        assert worker.returncode is None, worker.output
        assert time.monotonic() < ends_at, worker.output
        time.sleep(0.01)


def _start(workplace: Workplace, folder: Path, kind: str, *words: str) -> Script:
    environ = write_module(folder, "idle_app", SOURCE % _IDLE_S) | {"TEST_FILE_URL": f"sqlite:///{folder / 'file.db'}"}
    return workplace.worker(kind, *words, config="idle_app", burst=False, **environ)


def _opened_files(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(link.readlink()))
    return found


@pytest.mark.parametrize("kind", ["SimpleWorker", "WarmWorker"])
def test_worker_that_waits_gives_its_connections_back(
    workplace: Workplace, tmp_path: Path, kind: str, aborted: Callable[[], int]
) -> None:
    """Redis lists the client no more, the SQLite file is closed, MySQL gets a goodbye; the next job opens anew."""
    began = time.monotonic()
    worker = _start(workplace, tmp_path, kind)
    clients = workplace.queue.connection

    for _ in range(2):
        job = workplace.queue.enqueue("idle_app.use_all")
        _until(lambda: workplace.refreshed(job).is_finished, worker)  # noqa: B023 -- called before the next turn
        pid, client = workplace.refreshed(job).return_value()
        _until(lambda: client not in {int(found["id"]) for found in clients.client_list()}, worker)  # noqa: B023 -- as above
        _until(lambda: not workplace.database.sessions(), worker)
        _until(lambda: str(tmp_path / "file.db") not in _opened_files(pid), worker)  # noqa: B023 -- as above

    assert time.monotonic() - began > 2 * _IDLE_S
    assert aborted() == 0
    assert worker.stop() == 0


def test_worker_that_is_to_quit_when_idle_does(workplace: Workplace, tmp_path: Path) -> None:
    """`--max-idle-time` counts from the last job, though the wait has been cut into parts."""
    workplace.queue.enqueue("idle_app.use_all")

    worker = _start(workplace, tmp_path, "SimpleWorker", "--max-idle-time", "2")

    worker.wait_for("idle for 2 seconds, quitting")
    assert worker.wait() == 0
