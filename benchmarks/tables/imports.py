"""What ``import taskconn`` takes, beside other imports."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..harness import Case, Column, Contender, Measure, Table
from ..stage import Stage

_TASK = "import taskconn\n@taskconn.with_db\ndef f(db): ..."

#: Contender -> program.
_PROGRAMS = {
    "a bare interpreter": "pass",
    "import taskconn": "import taskconn",
    "and decorate a function": _TASK,
    "and configure an alias": f"{_TASK}\ntaskconn.configure({{'default': 'mysql://localhost/x'}})",
    "import pymysql": "import pymysql",
    "import psycopg": "import psycopg",
    "import psycopg_pool": "import psycopg_pool",
    "import dbutils.pooled_db": "import dbutils.pooled_db",
    "import sqlalchemy": "import sqlalchemy",
    "import redis": "import redis",
    "import celery": "from celery import Celery",
    "import rq": "import rq",
}


def _contender(program: str) -> Contender:
    @contextmanager
    def contender() -> Iterator[Measure]:
        yield lambda: _measure(program)

    return contender


def _measure(program: str) -> Mapping[str, float]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    count = f"{program}\nimport sys; sys.stdout.write(str(len(sys.modules)))"
    before, began = _cpu_s(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", count],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    wall_ms = (time.perf_counter() - began) * 1e3
    return {"cpu_ms": (_cpu_s() - before) * 1e3, "wall_ms": wall_ms, "modules": int(done.stdout)}


def _cpu_s() -> float:
    """Give the CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cases(_: Stage) -> Iterator[Case]:
    """Give one case: start an interpreter, import, end."""
    yield Case("start, import, end", {name: _contender(program) for name, program in _PROGRAMS.items()})


TABLE = Table(
    name="import",
    title="`import taskconn`",
    text="""
A fresh interpreter that imports, and ends; the bytecode is there already. Settings, drivers and `inspect` are imported
when they are first needed.
""",
    columns=(Column("cpu_ms", "ms of CPU", 1), Column("wall_ms", "ms", 1), Column("modules", "modules", 0)),
    cases=cases,
    rounds=9,
)
