"""Run applications of the zoo: with the servers that they ask the environment for, in processes of their own."""

from __future__ import annotations

import http.server
import importlib.util
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from celery import Celery
from redis import Redis
from rq import Callback, Queue
from rq.job import JobStatus
from rq.registry import StartedJobRegistry

from examples.servers import MySQLServer, PostgreSQLServer, RedisServer
from tests.support.mongo import MongoPeer
from tests.support.process import ROOT, Script
from tests.zoo.table import FOLDER, Case

#: Number of the Redis database that an application uses, and of the worker's; they are emptied before each.
_DATABASE = 5


class _Answering(http.server.BaseHTTPRequestHandler):
    """Answer each request, and keep the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def http_server() -> Iterator[str]:
    """Give host and port of a web server; it reads what a log handler sends, too."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def mongo() -> Iterator[str]:
    """Give the URL of what speaks MongoDB's protocol."""
    with MongoPeer() as peer:
        yield f"mongodb://127.0.0.1:{peer.port}/?directConnection=true"


@pytest.fixture(scope="session")
def zoo_environ(
    mariadb: MySQLServer,
    postgresql: PostgreSQLServer,
    redis_server: RedisServer,
    mongo: str,
    http_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Give the variables that the applications read."""
    mariadb.query("CREATE DATABASE IF NOT EXISTS zoo")
    my, pg = urlsplit(mariadb.url("zoo")), urlsplit(postgresql.url("postgres"))
    file = tmp_path_factory.mktemp("zoo") / "my.cnf"
    lines = ["[client]", f"host={my.hostname}", f"port={my.port}", f"user={my.username}", f"password={my.password}"]
    file.write_text("\n".join([*lines, "database=zoo", ""]))
    return {
        "MYSQL_CNF": str(file),
        "MYSQL_URL": mariadb.url("zoo"),
        "TASKCONN_URL": mariadb.url("zoo"),
        "SQLALCHEMY_URL": mariadb.url("zoo").replace("mysql://", "mysql+pymysql://"),
        "POSTGRES_DSN": postgresql.url("postgres"),
        "POSTGRES_HOST": str(pg.hostname),
        "POSTGRES_PORT": str(pg.port),
        "POSTGRES_USER": str(pg.username),
        "POSTGRES_PASSWORD": str(pg.password),
        "POSTGRES_DATABASE": "postgres",
        "REDIS_URL": redis_server.url(_DATABASE),
        "MONGO_URL": mongo,
        "HTTP_HOST": http_server,
    }


@pytest.fixture
def zoo_script(zoo_environ: dict[str, str], script: Callable[..., Script]) -> Callable[..., Script]:
    """
    Give a function that starts a command in the folder of an application, with the servers that it wants.

    Variables may be added by name; a PYTHONPATH stands in front of that of the application.
    """

    def start(case: Case, command: list[str], **added: str) -> Script:
        for package in case.needs:
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
        paths = [
            *filter(None, [added.pop("PYTHONPATH", "")]),
            str(case.folder),
            str(case.folder / "site-packages"),
            str(ROOT),
        ]
        environ = {**zoo_environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", **added}
        return script(command, cwd=case.folder, environ=environ)

    return start


def _abandon(queue: Queue) -> None:
    """Leave a job behind as a worker does that was killed an hour ago; the next one calls its failure callback."""
    job = queue.create_job("jobs.work", on_failure=Callback("jobs.record"))
    job.set_status(JobStatus.STARTED)
    job.save()
    queue.connection.zadd(StartedJobRegistry(queue=queue).key, {f"{job.id}:{uuid.uuid4().hex}": time.time() - 3600})


@pytest.fixture
def run_case(zoo_script: Callable[..., Script], zoo_environ: dict[str, str]) -> Callable[[Case], str]:
    """Give a function that runs an application as its users do, with a real fork, and returns all that it printed."""

    def run(case: Case) -> str:
        with Redis.from_url(zoo_environ["REDIS_URL"]) as redis:
            redis.flushdb()
            return {"module": _module, "program": _program, "celery": _celery, "rq": _rq}[case.run](case, redis)

    def _module(case: Case, _: object) -> str:
        command = [sys.executable, "-m", "taskconn", "run", "--guard=warn", str(FOLDER / "fork_once.py")]
        output = zoo_script(case, command).succeed()
        assert "parent done" in output
        return output

    def _program(case: Case, redis: Redis) -> str:
        if (case.folder / "jobs.py").exists():
            Queue(connection=redis).enqueue("jobs.work")
        script = zoo_script(case, [sys.executable, "-m", "taskconn", "run", "--guard=warn", "main.py"])
        script.wait(60)
        return script.output

    def _celery(case: Case, redis: Redis) -> str:
        client = Celery("client", broker=zoo_environ["REDIS_URL"], set_as_current=False)
        words = ["worker", "-c", "1", "-n", f"{uuid.uuid4().hex[:8]}@local", "-l", "info", "--without-gossip"]
        words += ["--without-mingle", "--without-heartbeat"]
        try:
            client.send_task("app.work", ignore_result=True)
            script = zoo_script(case, [sys.executable, "-m", "celery", "-A", "app", *words])
            script.wait_for(r"Task app\.work\[\S+\] (succeeded|raised)|Hard time limit", 60)
            if case.name == "on_failure_in_parent":  # the child that replaces the killed one is what inherits
                script.wait_for(r"forks with an open", 60)
            # A cold shutdown may wait for ever: Celery does it in the handler of the signal, wherever that strikes.
            script.stop(signal.SIGTERM, timeout=100)
        finally:
            client.close()
        return script.output

    def _rq(case: Case, redis: Redis) -> str:
        queue = Queue(connection=redis)
        if case.name == "rq_failure_callback":
            _abandon(queue)
        for _ in range(2):
            queue.enqueue("jobs.work")
        words = ["worker", "--burst", "-w", "taskconn.rq.Worker", "--url", zoo_environ["REDIS_URL"], "default"]
        script = zoo_script(case, [sys.executable, "-m", "rq.cli", *words])
        script.wait(60)
        return script.output

    return run
