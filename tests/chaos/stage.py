"""Where a run of the chaos suite takes place: a database on a small disk, a proxy before it, a broker, a worker."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from examples.servers import MariaDB, PostgreSQL, Redis
from tests.chaos import work
from tests.chaos.faults import Place
from tests.chaos.systems import SYSTEMS, System
from tests.chaos.toxic import Toxic
from tests.guard.rabbitmq import RabbitMQ
from tests.support.disk import Disk, why_there_is_none
from tests.support.process import ROOT

__all__ = ["database_on", "impossible", "stage"]

#: libfaketime, where Debian puts it.
_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

#: Size of the database's disk, in MiB: a new server takes a third of it.
_DISK_MIB = 160

#: Options of the alias: short, as for a service that is to recover in seconds.
_OPTIONS = (
    "connect_timeout=2&health_check_interval=1&reconnect_spread=1&settle_timeout=2&acquire_timeout=10&connect_retry=2"
)

#: Asks the server to sleep for longer than the soft limit, and how clients without limits bound a statement.
_BY_SERVER = {
    "mysql": ("SELECT SLEEP(4)", "&read_timeout=6"),
    "postgresql": ("SELECT pg_sleep(4)", "&tcp_user_timeout=6000"),
}


def impossible() -> dict[str, str]:
    """Name the faults that this machine can't do, with the reason."""
    reasons = {
        "fill_disk": (why := why_there_is_none()) and f"no small disk can be mounted: {why}",
        "jump": "" if _FAKETIME else "libfaketime is not installed",
    }
    return {fault: reason for fault, reason in reasons.items() if reason}


def database_on(disk: Disk | None, server_name: str) -> MariaDB | PostgreSQL:
    """
    Make a server that soon has no connection left, and keeps what it has committed when it is killed.

    MariaDB has a binary log, as it has in production; on a full disk a commit waits there.
    """
    database: MariaDB | PostgreSQL
    if server_name == "mysql":
        database = MariaDB(options=["--max-connections=40", "--log-bin=binlog", "--server-id=1"])
    else:
        log = {"max_wal_size": "32MB", "min_wal_size": "32MB", "wal_recycle": "off"}  # none is left for a full disk
        database = PostgreSQL(settings={"max_connections": "40", "synchronous_commit": "on", **log})
    database.place = disk.folder if disk else None
    return database


@contextmanager
def stage(
    system_name: str, server_name: str, *, by_hand: bool = False, dies: str = "", is_slow: bool = True
) -> Iterator[tuple[System, Place]]:
    """
    Start everything, with the tables filled; all ends with the ``with`` statement.

    Args:
        system_name: One of `SYSTEMS`.
        server_name: ``"mysql"`` or ``"postgresql"``.
        by_hand: Use the connection that is written by hand: the control.
        dies: Id of a transfer whose process is killed after its commit, and before it can say so (Celery).
        is_slow: One transfer in many takes longer than it may.
    """
    kind = SYSTEMS[system_name]
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        disk: Disk | None = None
        with contextlib.suppress(OSError):  # `impossible` says so
            disk = stack.enter_context(Disk(_DISK_MIB))
        database = stack.enter_context(database_on(disk, server_name))
        results = stack.enter_context(Redis(options=("--appendonly", "yes", "--appendfsync", "always")))
        broker = stack.enter_context(RabbitMQ()) if kind.has_rabbitmq else results
        _make_tables(database)
        toxic = stack.enter_context(Toxic((database.host, database.port)))

        sleep, bound = _BY_SERVER[server_name]
        url = _url(database, toxic)
        environ = {"CHAOS_FOLDER": str(folder), "CHAOS_SLEEP": sleep if is_slow else ""}
        environ["CHAOS_URL"] = url if by_hand else f"{url}?{_OPTIONS}{bound}"
        if isinstance(broker, RabbitMQ):
            environ["CHAOS_BROKER"] = broker.url()
        clock = folder / "clock" if _FAKETIME else None
        if clock is not None:
            clock.write_text("+0")
            environ |= {"LD_PRELOAD": str(_FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(clock)}
            environ |= {"FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).with_name("faketime")), str(ROOT)])
        if dies:
            (folder / f"die-{dies}").touch()

        system = kind(results, environ, folder, "transfer_by_hand" if by_hand else "transfer")
        stack.callback(system.end)
        system.worker()
        yield system, Place(database, toxic, broker, system.worker, clock, disk)


def _url(database: MariaDB | PostgreSQL, toxic: Toxic) -> str:
    """Give the database's URL through the proxy."""
    scheme = "mysql+pymysql" if isinstance(database, MariaDB) else "postgresql+psycopg"
    netloc = f"{database.user}:{database.password}@127.0.0.1:{toxic.port}"
    return urlsplit(database.url("shop"))._replace(scheme=scheme, netloc=netloc).geturl()


def _make_tables(database: MariaDB | PostgreSQL) -> None:
    """Make the tables, that of `once` as `taskconn ledger create` does."""
    from taskconn import _ledger

    database.query("CREATE DATABASE shop")
    dialect, more = ("mysql", ()) if isinstance(database, MariaDB) else ("postgresql", (work.WIDER,))
    for statement in (*work.SCHEMA, *more, *_ledger.statements(dialect, "default")):
        database.query(statement, database="shop")
