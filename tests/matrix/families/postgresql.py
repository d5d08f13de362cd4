"""PostgreSQL."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

from tests.drivers.rows import Row
from tests.matrix.families.family import DATABASE, OF_REDIS, Family, Leftover, finds, sql


class PostgreSQLFamily(Family):
    name = "postgresql"
    leftovers: ClassVar = {
        "an open transaction": Leftover(
            sql("INSERT INTO leftover VALUES ('left')"),
            finds("SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'RowExclusiveLock'"),
            always_goes=True,
        ),
        "a snapshot by SELECT alone": Leftover(
            lambda row, db: (
                row.run(db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") or row.run(db, "SELECT * FROM leftover")
            ),
            finds("SHOW transaction_isolation", "repeatable read"),
            always_goes=True,
        ),
        "a session variable": Leftover(sql("SET work_mem = '77kB'"), finds("SHOW work_mem", "77kB")),
        "a temporary table": Leftover(
            sql("CREATE TEMPORARY TABLE temp (n INT)"), finds("SELECT to_regclass('pg_temp.temp') IS NOT NULL", True)
        ),
        "a user lock": Leftover(
            sql("SELECT pg_advisory_lock(77)"),
            finds("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
        ),
        "a prepared statement": Leftover(
            sql("PREPARE left1 AS SELECT 1"), finds("SELECT 1 FROM pg_prepared_statements WHERE name = 'left1'")
        ),
        "another search_path": Leftover(sql("SET search_path = 'other'"), finds("SHOW search_path", "other")),
        "SET autocommit": Leftover(
            lambda row, db: setattr(row.client(db), "autocommit", True),
            lambda row, db: bool(row.client(db).autocommit),
            always_goes=True,
        ),
        "LISTEN": Leftover(
            lambda row, db: row.run(db, "LISTEN news") or db.commit(), finds("SELECT pg_listening_channels()")
        ),
        "a half-read reply": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 1)[0] != row.ask(db, 1)[1], always_goes=True
        ),
    }
    impossible: ClassVar = {**OF_REDIS, "another database": "a session of PostgreSQL can't change its database"}

    def __init__(self) -> None:
        self._gate: Any = None

    def make_server(self) -> Any:
        from examples.servers import PostgreSQL

        return PostgreSQL(tls=True)

    def start(self) -> None:
        super().start()
        self.server.query(f"CREATE DATABASE {DATABASE}")
        self.server.query("CREATE TABLE car (name TEXT)", database=DATABASE)
        self.server.query("CREATE TABLE leftover (name TEXT)", database=DATABASE)
        self.server.query("CREATE SCHEMA other", database=DATABASE)

    def version(self) -> str:
        return f"PostgreSQL {self.server.query('SHOW server_version')[0][0].partition(' ')[0]}"

    def socket_path(self, folder: Path) -> Path:
        return folder / f".s.PGSQL.{self.server.port}"

    def place(self, address: str) -> str:
        return f"{self.server.user}:{self.server.password}@{address or f':{self.server.port}'}/{DATABASE}"

    def unix_arguments(self, folder: Path) -> dict[str, str]:
        return {"host": str(folder)}

    def is_committed(self, value: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM car WHERE name = %s", (value,), database=DATABASE))

    def hold(self) -> None:
        self._gate = self.server.connect(DATABASE, autocommit=True)
        self._gate.execute("SELECT pg_advisory_lock(7)")

    def release(self) -> None:
        self._gate.close()

    def block(self, row: Row, db: Any) -> bool:
        return row.run(db, "SELECT 5 FROM (SELECT pg_advisory_xact_lock(7)) AS gate") == [(5,)]

    def is_blocked(self) -> bool:
        return bool(self.server.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))

    def has_session(self, session_id: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (int(session_id),)))

    def kill(self, session_id: str) -> None:
        self.server.kill_session(int(session_id))

    def idle_out(self, row: Row, db: Any) -> AbstractContextManager[Any]:
        row.run(db, "SET idle_session_timeout = 1000")
        return nullcontext()
