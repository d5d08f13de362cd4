"""The workers of the chaos suite: how each is started, kept running, given transfers and asked what became of them."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import redis
from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job

from examples.servers import Redis
from tests.chaos.work import Transfer
from tests.support.process import Script

__all__ = ["SYSTEMS", "Outcome", "System"]

#: Seconds that a task may take, by its soft limit and by its hard one.
SOFT_S, HARD_S = 3, 5

#: What a send or a question meets while the broker is down.
_AWAY = (redis.RedisError, OperationalError, AMQPError, OSError)

#: Beginning of a line in RQ's record of a failure that names the error; further lines may be PostgreSQL's ``HINT:``.
_NAMES_AN_ERROR = re.compile(
    r"(\w+\.)+\w+(:|$)|\w+(Error|Exception|Exit|Interrupt)(:|$)|Work-horse|Moved to|Job was stuck"
)

#: "" is "not ended yet", "done" is done; everything else is the failure's name.
Outcome = str


class System(ABC):
    """
    Keep one worker running.

    Args:
        broker: Redis for results, and for messages unless ``CHAOS_BROKER`` in *environ* says otherwise.
        environ: Variables for the worker.
        folder: For its output.
        task: Name of the function that does the transfer.

    Attributes:
        name: Name of the system, for tables.
        has_rabbitmq: Its messages go through RabbitMQ, and its results through Redis.
        starts: How many workers were started.
    """

    name: ClassVar[str]
    has_rabbitmq: ClassVar[bool] = False

    def __init__(self, broker: Redis, environ: dict[str, str], folder: Path, task: str) -> None:
        self.broker = broker
        self.task = task
        self.starts = 0
        self._environ = environ
        self._folder = folder
        self._stopped = threading.Event()
        self._scripts: list[Script] = []

    @abstractmethod
    def command(self) -> list[str]:
        """Give the worker's command line."""

    @abstractmethod
    def send(self, transfer: Transfer) -> None:
        """Send *transfer*, or send it again under the same id."""

    @abstractmethod
    def outcome(self, transfer: Transfer) -> Outcome:
        """Tell what became of the last one sent."""

    def worker(self) -> Script:
        """Give the worker that runs; one that has ended is replaced, as a supervisor would."""
        if not self._scripts or self._scripts[-1].returncode is not None:
            if self._scripts:
                self._scripts[-1].kill()  # children that have outlived it
            self.starts += 1
            log_path = self._folder / f"worker-{self.starts}.log"
            self._scripts.append(Script(self.command(), environ=self._environ, log_path=log_path))
        return self._scripts[-1]

    def end(self) -> int:
        """Ask the worker to end, as an operator does, and give its exit code; killed after half a minute."""
        worker = self.worker()
        try:
            return worker.stop(timeout=30)
        except AssertionError:
            return -9
        finally:
            for script in self._scripts:
                script.kill()

    def output(self) -> str:
        """Give all that the workers have printed."""
        return "\n".join(script.output for script in self._scripts)


class CelerySystem(System):
    """A Celery worker over Redis, with late acknowledgement and visibility for a few seconds."""

    pool: ClassVar[str]
    concurrency: ClassVar[int]

    def __init__(self, broker: Redis, environ: dict[str, str], folder: Path, task: str) -> None:
        messages = environ.get("CHAOS_BROKER", broker.url(0))
        shared = {
            "broker_url": messages,
            "result_backend": broker.url(1),
            "broker_connection_retry_on_startup": True,
            "broker_connection_max_retries": None,
            "worker_cancel_long_running_tasks_on_connection_loss": False,
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
        }
        own = {
            **shared,
            "imports": ["taskconn.celery"],
            "taskconn_databases": {"default": environ["CHAOS_URL"]},
            "task_soft_time_limit": SOFT_S,
            "task_time_limit": HARD_S,
        }
        super().__init__(broker, {**environ, "CHAOS_CELERY": json.dumps(own)}, folder, task)
        quick = {"socket_timeout": 2, "socket_connect_timeout": 2, "retry_policy": {"max_retries": 0}}
        changes = {**shared, "result_backend_transport_options": quick}
        if not self.has_rabbitmq:
            own["broker_transport_options"] = {"visibility_timeout": HARD_S + 2}
            changes["broker_transport_options"] = quick
        self._client = Celery("chaos client", set_as_current=False, changes=changes)

    def command(self) -> list[str]:
        """Give `celery worker`."""
        words = ["-m", "celery", "-A", "tests.chaos.celery_app", "worker", "-P", self.pool, "-c", str(self.concurrency)]
        return [sys.executable, *words, "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "warning"]

    def send(self, transfer: Transfer) -> None:
        """Send the task."""
        with contextlib.suppress(*_AWAY):
            self._client.backend.client.delete(self._client.backend.get_key_for_task(transfer.id))
            self._client.send_task(self.task, tuple(transfer), task_id=transfer.id, retry=False)

    def outcome(self, transfer: Transfer) -> Outcome:
        """Look into the result backend."""
        try:
            raw = self._client.backend.client.get(self._client.backend.get_key_for_task(transfer.id))
        except _AWAY:
            return ""
        if raw is None:
            return ""
        meta = json.loads(raw)
        if meta["status"] == "SUCCESS":
            return "done"
        if meta["status"] in {"FAILURE", "REVOKED"}:
            result: Any = meta.get("result") or {}
            return f"{result.get('exc_module', '')}.{result.get('exc_type', meta['status'])}"
        return ""


class Prefork(CelerySystem):
    name, pool, concurrency = "celery prefork", "prefork", 3


class RabbitPrefork(CelerySystem):
    name, pool, concurrency, has_rabbitmq = "celery prefork, RabbitMQ", "prefork", 3, True


class Threads(CelerySystem):
    name, pool, concurrency = "celery threads", "threads", 6


class Gevent(CelerySystem):
    name, pool, concurrency = "celery gevent", "gevent", 10


class RQSystem(System):
    """A worker of RQ, of one class."""

    kind: ClassVar[str]

    def __init__(self, broker: Redis, environ: dict[str, str], folder: Path, task: str) -> None:
        url = environ["CHAOS_URL"]
        environ = {**environ, "TASKCONN_URL": url, "CHAOS_REDIS": broker.url(0)}
        super().__init__(broker, environ, folder, "with_taskconn" if task == "transfer" else task)
        self._redis = redis.Redis.from_url(broker.url(0), socket_timeout=2, socket_connect_timeout=2)
        self._queue = Queue(connection=self._redis)

    def command(self) -> list[str]:
        """Give `rq worker`."""
        words = ["-m", "rq.cli", "worker", "-w", f"taskconn.rq.{self.kind}", "-c", "tests.chaos.rq_jobs"]
        return [sys.executable, *words, "--logging_level", "WARNING"]

    def send(self, transfer: Transfer) -> None:
        """Enqueue the job."""
        with contextlib.suppress(*_AWAY):
            self._queue.enqueue(
                f"tests.chaos.rq_jobs.{self.task}",
                args=tuple(transfer),
                job_id=transfer.id,
                job_timeout=SOFT_S,
                result_ttl=3600,
                failure_ttl=3600,
            )

    def outcome(self, transfer: Transfer) -> Outcome:
        """Fetch the job."""
        try:
            job = Job.fetch(transfer.id, connection=self._redis)
            status = str(job.get_status(refresh=False).value)
            if status == "finished":
                return "done"
            if status not in {"failed", "stopped", "canceled"}:
                return ""
            result = job.latest_result()
        except NoSuchJobError:
            return ""
        except _AWAY:
            return ""
        text = (result.exc_string or "") if result is not None else ""
        lines = [line for line in text.splitlines() if _NAMES_AN_ERROR.match(line)]
        return re.split(r":|, at ", lines[-1])[0] if lines else f"{status}: {text[-200:]}"


class ForkingWorker(RQSystem):
    name, kind = "rq Worker", "Worker"


class Warm(RQSystem):
    name, kind = "rq WarmWorker", "WarmWorker"


class Simple(RQSystem):
    name, kind = "rq SimpleWorker", "SimpleWorker"


#: Name -> class.
SYSTEMS = {system.name: system for system in (Prefork, Threads, Gevent, RabbitPrefork, ForkingWorker, Warm, Simple)}
