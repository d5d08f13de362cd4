"""Where RQ's workers find their settings, which ones win, what they refuse, and what nobody may read."""

from __future__ import annotations

import base64
import contextlib
import re
import signal
import zlib
from pathlib import Path
from typing import Any

import pytest
from rq.job import JobStatus

from tests.rq.conftest import Workplace, write_module
from tests.support.process import Script

_SECRET = "hunter2-s3cr3t"

#: Settings module -> what the worker says when it refuses to start.
_REFUSALS = {
    "scheme": (
        f"{{'default': 'mysqll://u:{_SECRET}@h/d'}}",
        r"The URL of connection 'default' starts with 'mysqll', which no driver(.|\n)*Did you mean 'mysql'\?",
    ),
    "option": (
        f"{{'default': {{'url': 'mysql://u:{_SECRET}@h/d', 'max_agee': 3}}}}",
        r"Connection 'default' has an option 'max_agee' that nobody knows(.|\n)*'max_age'",
    ),
    "argument": (
        f"{{'default': 'mysql://u:{_SECRET}@h/d?chraset=utf8'}}",
        r"Connection 'default' has an option 'chraset' that nobody knows(.|\n)*'charset'",
    ),
    "type": (
        f"['mysql://u:{_SECRET}@h/d']",
        r"settings are of type list where a mapping of aliases was expected",
    ),
    "driver": (
        f"{{'default': 'mysql://u:{_SECRET}@h/d'}}; import sys; sys.modules['pymysql'] = None",
        r"needs the package 'PyMySQL'(.|\n)*pip install 'taskconn\[mysql\]'",
    ),
}

each_refusal = pytest.mark.parametrize(("databases", "message"), _REFUSALS.values(), ids=_REFUSALS)


@each_refusal
def test_worker_does_not_start_with_wrong_settings(
    workplace: Workplace, tmp_path: Path, databases: str, message: str
) -> None:
    """It says what is wrong, without a password, and ends before anybody sees it among the workers."""
    environ = _settings(workplace, tmp_path, f"TASKCONN_DATABASES = {databases}")

    worker = workplace.worker(config="mine", burst=False, **environ)
    code = worker.wait()

    assert code == 1
    assert re.search(message, worker.output), worker.output
    assert "Traceback" not in worker.output
    assert _SECRET not in worker.output
    assert "0 workers" in workplace.rq("info", "-c", "mine", **environ).succeed()


def test_script_gets_the_error_itself(workplace: Workplace) -> None:
    """Outside of the ``rq`` command the refusal is an exception that a program can catch."""
    source = f"""
import taskconn, taskconn.errors, os
from redis import Redis
from taskconn.rq import Worker
os.environ["TASKCONN_URL"] = "mysqll://u:{_SECRET}@h/d"
try:
    Worker(["default"], connection=Redis.from_url(os.environ["TEST_REDIS_URL"])).work(burst=True)
except taskconn.errors.UnknownSchemeError as error:
    print("caught", error)
"""

    output = workplace.start(source, environ=workplace.environ).succeed()

    assert "caught The URL of connection 'default' starts with 'mysqll'" in output
    assert _SECRET not in output


def test_pool_ends_when_its_workers_can_not_start(workplace: Workplace, tmp_path: Path) -> None:
    """RQ's pool would start a worker that can't start again each second."""
    environ = _settings(workplace, tmp_path, "TASKCONN_DATABASES = {'default': 'mysqll://h'}")

    pool = workplace.worker(command="worker-pool", config="mine", burst=False, **environ)
    pool.wait()

    assert "this worker can't start" in pool.output


@pytest.mark.parametrize("name", ["Worker", "SimpleWorker"])
def test_worker_starts_while_its_database_is_down(workplace: Workplace, tmp_path: Path, name: str) -> None:
    """Only the jobs that need it fail, each with the error that says where it tried to connect."""
    url = f"{{'url': 'mysql://u:{_SECRET}@127.0.0.1:1/d', 'warm': True}}"
    environ = _settings(workplace, tmp_path, f"TASKCONN_DATABASES = {{'default': {url}}}")
    needs = workplace.enqueue("insert", "one")
    needs_not = workplace.enqueue("opens_before_use")

    output = workplace.worker(name, config="mine", **environ).succeed()

    assert "Connection 'default' to 127.0.0.1:1 could not be opened" in workplace.error_of(needs)
    assert needs_not.get_status() == JobStatus.FINISHED
    assert "connection 'default': opening it early in process" in output
    assert _SECRET not in output


@pytest.mark.parametrize("name", ["Worker", "SpawnWorker"])
def test_password_is_shown_nowhere(workplace: Workplace, tmp_path: Path, name: str) -> None:
    """Not in the log, not by `rq info`, not in Redis, where the tracebacks of failed jobs are kept."""
    refused = f"mysql://{workplace.database.server.user}:{_SECRET}@127.0.0.1:{workplace.database.server.port}/x"
    environ = _settings(workplace, tmp_path, f"TASKCONN_DATABASES = {{'default': {refused!r}}}")
    job = workplace.enqueue("insert", "one")

    worker = workplace.worker(name, "--verbose", "--max-jobs", "2", config="mine", burst=False, **environ)
    worker.wait_for("ConnectionFailedError")
    info = workplace.rq("info", "-c", "mine", **environ).succeed()
    stored = _everything(workplace)
    worker.stop(signal.SIGTERM)

    assert "Access denied" in workplace.error_of(job)
    assert "1 workers" in info
    assert _SECRET not in worker.output + info
    assert b"ConnectionFailedError" in stored
    assert _SECRET.encode() not in stored


@pytest.mark.parametrize("name", ["Worker", "SpawnWorker"])
def test_settings_module_wins_over_the_environment(workplace: Workplace, name: str) -> None:
    """The environment fills in what the module does not say."""
    elsewhere = workplace.database.server.url("information_schema")
    job = workplace.enqueue("where")

    workplace.worker(name, TASKCONN_URL=elsewhere).succeed()

    assert job.return_value() == workplace.database.name


@pytest.mark.parametrize("name", ["Worker", "SpawnWorker"])
def test_configure_wins_over_the_settings_module(workplace: Workplace, tmp_path: Path, name: str) -> None:
    """What is said in code is meant."""
    source = f"""
TASKCONN_DATABASES = {{"default": {workplace.database.url!r}}}
import taskconn
taskconn.configure({{"default": {workplace.database.server.url("information_schema")!r}}})
"""
    environ = _settings(workplace, tmp_path, source)
    job = workplace.enqueue("where")

    workplace.worker(name, config="mine", **environ).succeed()

    assert job.return_value() == "information_schema"


@pytest.mark.parametrize("name", ["Worker", "SpawnWorker", "SimpleWorker"])
def test_environment_alone_is_enough(workplace: Workplace, name: str) -> None:
    """A worker without a settings module finds TASKCONN_URL."""
    job = workplace.enqueue("where")

    command = ("worker", "--burst", "-u", workplace.redis.url, "-w", f"taskconn.rq.{name}")
    workplace.rq(*command, TASKCONN_URL=workplace.database.url).succeed()

    assert job.return_value() == workplace.database.name


def test_config_of_another_program_is_not_ours() -> None:
    """A user's own click command may have a ``--config`` too: it names a file, perhaps, and no module."""
    source = """
import click
from taskconn.rq import _settings

@click.command()
@click.option("--config")
def main(config):
    _settings.load()
    print("loaded nothing")

main(["--config", "app.toml"])
"""

    with Script.python(source) as program:
        assert "loaded nothing" in program.succeed()


def _settings(workplace: Workplace, folder: Path, source: str) -> dict[str, str]:
    return write_module(folder, "mine", f"REDIS_URL = {workplace.redis.url!r}\n{source}\n")


def _everything(workplace: Workplace) -> bytes:
    """Give all that is in the Redis database, with what RQ has compressed as it was."""
    client = workplace.redis.connect()
    readers = {b"hash": client.hgetall, b"string": client.get, b"set": client.smembers, b"stream": client.xrange}
    found = [part for key in client.scan_iter() for part in _parts(readers.get(client.type(key), client.dump)(key))]
    client.close()
    return b"\n".join(found)


def _parts(value: Any) -> list[bytes]:
    """Take apart what Redis gave, down to bytes."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set):
        return [part for inner in value for part in _parts(inner)]
    parts = [bytes(value)]
    with contextlib.suppress(ValueError, zlib.error):
        parts.append(zlib.decompress(value))
    with contextlib.suppress(ValueError, zlib.error):
        parts.append(zlib.decompress(base64.b64decode(value, validate=True)))
    return parts
