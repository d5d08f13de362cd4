"""
The zoo: small applications that carry a connection over a fork, each a pattern from real threads, and sound ones.

Each is a folder, `broken/<name>` or `sound/<name>`, and a row here. How it is run says which module it has:

| run | module | how |
|---|---|---|
| ``module`` | ``tasks`` | imported, then a fork whose child calls ``tasks.work()`` |
| ``program`` | ``main`` | run as it is |
| ``celery`` | ``app`` | a real ``celery -A app worker``; its task ``app.work`` is sent |
| ``rq`` | ``jobs`` | a real ``rq worker`` of `taskconn.rq.Worker`; ``jobs.work`` is enqueued |
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

FOLDER = Path(__file__).resolve().parent

Run = Literal["module", "program", "celery", "rq"]


class Case(NamedTuple):
    """
    One application.

    Attributes:
        name: Its folder.
        run: How it is run; see above.
        kind: Kind of server that the connection leads to.
        guard: File and line, ``"tasks.py:7"``, that the guard names as it runs; "" if it need not find it.
        doctor: The same for the doctor, which imports it.
        lint: The same for lint, which reads the source.
        needs: Packages that it imports and that may be missing.
    """

    name: str
    run: Run
    kind: str = ""
    guard: str = ""
    doctor: str = ""
    lint: str = ""
    needs: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return FOLDER / ("broken" if self.kind else "sound") / self.name

    @property
    def module(self) -> str:
        """What its worker imports."""
        return {"module": "tasks", "program": "main", "celery": "app", "rq": "jobs"}[self.run]


def _everywhere(name: str, run: Run, kind: str, place: str, *needs: str) -> Case:
    return Case(name, run, kind, guard=place, doctor=place, lint=place, needs=needs)


BROKEN = [
    Case("article", "program", "MySQL", guard="main.py:8", lint="main.py:8"),
    _everywhere("module_global", "module", "MySQL", "tasks.py:7"),
    _everywhere("module_global_mysqlclient", "module", "MySQL", "tasks.py:7", "MySQLdb"),
    _everywhere("module_global_psycopg2", "module", "PostgreSQL", "tasks.py:7", "psycopg2"),
    _everywhere("celery_class_attribute", "celery", "PostgreSQL", "app.py:22", "psycopg"),
    _everywhere("engine_used_at_import", "module", "MySQL", "tasks.py:8", "sqlalchemy"),
    Case("dispose_closes", "celery", "MySQL", "app.py:12", doctor="app.py:13", lint="app.py:20", needs=("sqlalchemy",)),
    Case("orm_session_at_configure", "celery", "MySQL", guard="app.py:12", needs=("sqlalchemy",)),
    _everywhere("psycopg_pool_opened", "module", "PostgreSQL", "tasks.py:7", "psycopg_pool"),
    _everywhere("mongo_client", "module", "MongoDB", "tasks.py:7", "pymongo"),
    Case("django_ready", "program", "PostgreSQL", guard="cars/apps.py:14", needs=("django", "psycopg")),
    Case("redis_pubsub", "module", "Redis", guard="tasks.py:9", doctor="tasks.py:9"),
    Case("closure", "module", "MySQL", guard="tasks.py:10", doctor="tasks.py:10"),
    _everywhere("default_argument", "module", "MySQL", "tasks.py:8"),
    _everywhere("class_attribute", "module", "MySQL", "tasks.py:11"),
    _everywhere("contextvar", "module", "PostgreSQL", "tasks.py:9", "psycopg2"),
    Case("cached_function", "module", "MySQL", guard="tasks.py:12", doctor="tasks.py:12"),
    Case("singleton", "module", "MySQL", guard="tasks.py:17", doctor="tasks.py:17"),
    Case("third_party", "module", "MySQL", guard="tasks.py:3", doctor="tasks.py:3"),
    Case("opened_by_thread", "module", "MySQL", guard="tasks.py:14", doctor="tasks.py:14"),
    _everywhere("worker_init", "celery", "MySQL", "app.py:17"),
    Case("on_failure_in_parent", "celery", "MySQL", guard="app.py:20"),
    Case("rq_failure_callback", "rq", "MySQL", guard="jobs.py:17"),
    Case("rq_worker_script", "program", "MySQL", guard="main.py:10", lint="main.py:10"),
    Case("http_session", "module", "HTTP", guard="tasks.py:7", doctor="tasks.py:7"),
    Case("executor", "program", "PostgreSQL", guard="main.py:9", lint="main.py:9", needs=("psycopg",)),
    _everywhere("raw_socket", "module", "unknown", "tasks.py:7"),
]

SOUND = [
    Case("opened_in_task", "module"),
    Case("closed_at_import", "module"),
    Case("proxy", "program"),
    Case("with_db_celery", "celery"),
    Case("with_db_rq", "rq"),
    Case("engine_unused", "module", needs=("sqlalchemy",)),
    Case("engine_disposed", "module", needs=("sqlalchemy",)),
    Case("engine_without_pool", "module", needs=("sqlalchemy",)),
    Case("dispose_keeps", "celery", needs=("sqlalchemy",)),
    Case("redis_client", "module"),
    Case("celery_sends_at_import", "celery"),
    Case("celery_child_connects", "celery"),
    Case("rq_enqueues", "rq"),
    Case("multiprocessing_own", "program"),
    Case("forking_server", "program"),
    Case("datagrams", "module"),
    Case("log_over_tcp", "module"),
    Case("by_pid", "module"),
    Case("thread_local", "module"),
    Case("pool_initializer", "program"),
    Case("spawned", "program"),
    Case("subprocess", "program"),
    Case("event_loop", "module"),
    Case("django_celery", "celery", needs=("django", "psycopg")),
]
