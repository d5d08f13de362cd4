"""
Stock configurations of Celery, RQ and gunicorn, run for real, to see that the guard says nothing of them.

Each forks often: children of Celery are replaced after a few tasks, and then there are connections to the broker.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from redis import Redis
from rq import Callback, Queue

from examples.servers._process import free_port
from tests.support.process import ROOT, Script

__all__ = ["Stock", "celery_rows", "gunicorn_rows", "rq_rows", "sayings"]

#: Starts a program: ``start(command, environ={...}, cwd=...)``.
Start = Callable[..., Script]

#: How the guard is there: the worker has taskconn, or the whole program runs under it.
WAYS = ("installed", "run")

_HERE = "tests.guard.stock_"


@dataclass
class Stock:
    """
    One configuration.

    Attributes:
        name: What it is.
        run: Runs it under the guard in one of `WAYS`; gives all that it printed.
    """

    name: str
    run: Callable[[Start, str], str]
    ways: tuple[str, ...] = field(default=WAYS)


def sayings(output: str) -> list[str]:
    """List the lines in which the guard has said something."""
    return re.findall(r"^.*(?:forks with|could not look|ForkRefused|was about to fork).*$", output, re.MULTILINE)


def celery_rows(broker: str, backends: Mapping[str, str | None]) -> Iterator[Stock]:
    """Give the configurations of Celery with one broker."""
    kind = broker.partition(":")[0]
    for name, backend in backends.items():
        settings = {"broker_url": broker, "result_backend": backend}
        yield Stock(f"celery, {kind}, {name}", _celery(settings, "-c", "2"))
    settings = {"broker_url": broker, "result_backend": next(iter(backends.values()), None)}
    yield Stock(f"celery, {kind}, beat embedded", _celery(settings, "-c", "2", "-B", "-s", "{tmp}/schedule"))
    yield Stock(f"celery, {kind}, events, autoscale", _celery(settings, "-E", "--autoscale=3,1"))
    spawning = {**settings, "worker_pool_start_method": "spawn"}
    yield Stock(f"celery, {kind}, spawn", _celery(spawning, "-c", "2"), ("installed",))
    for pool in ("solo", "threads"):
        yield Stock(f"celery, {kind}, {pool}", _celery(settings, "-P", pool), ("installed",))


def rq_rows(redis_url: str) -> Iterator[Stock]:
    """Give the configurations of RQ."""
    for name in ("Worker", "RoundRobinWorker", "RandomWorker", "HerokuWorker", "SpawnWorker", "SimpleWorker"):
        yield Stock(f"rq, {name}", _rq(redis_url, "worker", name))
    yield Stock("rq, WarmWorker", _rq(redis_url, "worker", "WarmWorker"), ("installed",))
    yield Stock("rq, Worker, scheduler", _rq(redis_url, "worker", "Worker", "--with-scheduler"))
    yield Stock("rq, pool of 2, scheduler", _rq(redis_url, "worker-pool", "Worker", "-n", "2"))


def gunicorn_rows() -> Iterator[Stock]:
    """Give gunicorn with the application loaded before the fork."""
    yield Stock("gunicorn, preload", _gunicorn)


def _under(way: str, module: str, words: list[str]) -> list[str]:
    program = ["-m", "taskconn", "run", "--guard=warn", "-m"] if way == "run" else ["-m"]
    return [sys.executable, *program, module, *words]


def _celery(settings: dict[str, Any], *words: str) -> Callable[[Start, str], str]:
    def run(start: Start, way: str) -> str:
        queue = f"stock-{uuid.uuid4().hex[:8]}"
        shared = {**settings, "broker_connection_retry_on_startup": True}
        own = {**shared, "worker_max_tasks_per_child": 3, "task_ignore_result": not settings["result_backend"]}
        if way == "installed":
            own["imports"] = ["taskconn.celery"]
        folder = tempfile.TemporaryDirectory(prefix="taskconn-stock-")
        options = [word.replace("{tmp}", folder.name) for word in words]
        command = _under(way, "celery", ["-A", f"{_HERE}app", "worker", "-n", f"{queue}@local", "-l", "info", *options])
        environ = {"STOCK_SETTINGS": json.dumps(own), "STOCK_QUEUE": queue}
        script = start(command, environ=environ, cwd=ROOT)
        with Celery("client", set_as_current=False, changes={**shared, "task_default_queue": queue}) as client:
            script.wait_for(r"\bready\.", 120)
            for n in range(12):
                name = ("add", "retry", "fail", "send")[n % 4]
                client.send_task(f"{_HERE}app.{name}", (1, 2) if name == "add" else (), ignore_result=True)
            backend = settings["result_backend"]
            count = 15 if not backend or backend.startswith("rpc") else 24  # with workflows
            script.wait_for(rf"Task {re.escape(_HERE)}app\.\S* (succeeded|raised unexpected)", 120, count=count)
            if "solo" not in words:  # answered when it has forked: a worker that is asked to end meanwhile may hang
                client.control.broadcast("pool_grow", arguments={"n": 1}, reply=True, timeout=30, limit=1)
        # Not a cold shutdown: Celery does it in the handler of the signal, which may wait for what it has interrupted.
        script.stop(signal.SIGTERM, timeout=100)
        folder.cleanup()
        return script.output

    return run


def _rq(redis_url: str, command: str, name: str, *words: str) -> Callable[[Start, str], str]:
    def run(start: Start, way: str) -> str:
        with Redis.from_url(redis_url) as redis:
            redis.flushdb()
            queue = Queue(connection=redis)
            jobs = [queue.enqueue(f"{_HERE}jobs.add", 1, 2) for _ in range(3)]
            queue.enqueue(f"{_HERE}jobs.fail", on_failure=Callback(f"{_HERE}jobs.note"))
            jobs.append(queue.enqueue(f"{_HERE}jobs.add", 3, 4, on_success=Callback(f"{_HERE}jobs.note")))
            worker = f"taskconn.rq.{name}" if way == "installed" else f"rq.worker.{name}"
            line = _under(way, "rq.cli", [command, "--burst", "-w", worker, "--url", redis_url, *words])
            script = start(line, environ={}, cwd=ROOT)
            assert script.wait(120) == 0, script.output
            assert all(job.is_finished for job in jobs), script.output
        return script.output

    return run


def _gunicorn(start: Start, way: str) -> str:
    port = free_port()
    words = ["--preload", "-w", "2", "-b", f"127.0.0.1:{port}", f"{_HERE}wsgi:application"]
    script = start(_under(way, "gunicorn", words), environ={"TASKCONN_GUARD": "warn"}, cwd=ROOT)
    script.wait_for("Booting worker with pid", 60, count=2)
    for _ in range(4):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert answer.read() == b"ok"
    script.send(signal.SIGHUP)  # forks new workers, while sockets of clients may be open
    script.wait_for("Booting worker with pid", 60, count=4)
    script.stop(signal.SIGTERM, timeout=60)
    return script.output
