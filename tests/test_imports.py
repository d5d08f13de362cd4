"""What `import taskconn` brings along, counted in modules; the time is in `benchmarks/`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.portable

#: Client libraries and task systems, which drivers and integrations import when they are needed themselves.
FOREIGN = frozenset(
    {
        "MySQLdb",
        "billiard",
        "celery",
        "greenlet",
        "kombu",
        "mysql",
        "psycopg",
        "psycopg2",
        "pymysql",
        "redis",
        "rich",
        "rq",
        "sqlalchemy",
        "sqlite3",
    }
)

#: Parts of the standard library that take a millisecond or more, and that a lease does without.
DEAR = frozenset(
    {
        "asyncio",
        "concurrent",
        "dataclasses",
        "difflib",
        "email",
        "hashlib",
        "http",
        "importlib.metadata",
        "inspect",
        "ipaddress",
        "multiprocessing",
        "pickle",
        "random",
        "socket",
        "ssl",
        "subprocess",
        "tempfile",
        "urllib",
    }
)

LIST = """
import json, sys
bare = set(sys.modules)
import taskconn
print(json.dumps(sorted(set(sys.modules) - bare)))
"""


def imported() -> set[str]:
    """List the modules that a fresh interpreter, without the environment's own start-up code, adds for taskconn."""
    paths = [path for path in sys.path if path]
    program = f"import sys; sys.path[:] = {paths!r}{LIST}"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_import_brings_no_client_library_and_no_task_system() -> None:
    """A process pays for the libraries that it uses itself."""
    assert not imported() & FOREIGN


def test_import_brings_nothing_dear() -> None:
    """What only settings, decorators or an open need is imported with the first of them."""
    assert not imported() & DEAR


def test_import_brings_none_of_the_drivers_and_the_settings() -> None:
    """Settings are read, and drivers looked for, with the first alias."""
    own = {name for name in imported() if name.startswith("taskconn")}

    assert "taskconn._lease" in own
    assert not {name for name in own if name.startswith(("taskconn.config", "taskconn.drivers", "taskconn._parse"))}
    assert len(own) <= 40


#: What a system without POSIX has not, as far as modules could need it when they are imported.
WITHOUT_POSIX = """
import importlib, os, pkgutil, select, signal, sys
import _signal

kept = {"SIGABRT", "SIGBREAK", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
gone = {
    signal: [name for name in dir(signal) if name.startswith("SIG") and name not in kept],
    _signal: [name for name in dir(_signal) if name.startswith("SIG") and name not in kept],
    os: ["EX_SOFTWARE", "fork", "forkpty", "getpgid", "getpgrp", "killpg", "register_at_fork", "setpgid", "sysconf"],
    select: ["epoll", "poll"],
}
for package in ("celery", "rq"):
    __import__(package)
for module, names in gone.items():
    for name in names:
        module.__dict__.pop(name, None)

import taskconn
for found in pkgutil.walk_packages(taskconn.__path__, "taskconn.", onerror=lambda name: None):
    if found.name not in ("taskconn.__main__", "taskconn.doctor._child"):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            assert not error.name.startswith("taskconn"), error  # else a client library that is not installed here
taskconn.configure({"default": "sqlite:///:memory:"})
with taskconn.lease() as db:
    print(db.execute("SELECT 1").fetchone())
"""


def test_every_module_imports_without_posix() -> None:
    """Where nothing forks, as on Windows, producers lease all the same, with Celery and RQ loaded."""
    command = [sys.executable, "-c", WITHOUT_POSIX]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1,)"
