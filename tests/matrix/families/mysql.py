"""MySQL and MariaDB."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from tests.drivers.rows import Row
from tests.matrix.families.family import DATABASE, OF_REDIS, Family, Leftover, finds, sql, works


class MySQL(Family):
    name = "mysql"
    leftovers: ClassVar = {
        "an open transaction": Leftover(
            sql("INSERT INTO leftover VALUES ('left')"), finds("SELECT @@in_transaction", 1), always_goes=True
        ),
        "a snapshot by SELECT alone": Leftover(
            sql("SELECT * FROM leftover"), finds("SELECT @@in_transaction", 1), always_goes=True
        ),
        "a session variable": Leftover(
            sql("SET SESSION sql_mode = 'ANSI', @left = 1"), finds("SELECT @@sql_mode = 'ANSI' OR @left = 1", 1)
        ),
        "a temporary table": Leftover(sql("CREATE TEMPORARY TABLE temp (n INT)"), works("SELECT * FROM temp")),
        "a user lock": Leftover(
            sql("SELECT GET_LOCK('left', 60)"), finds("SELECT IS_USED_LOCK('left') = CONNECTION_ID()", 1)
        ),
        "a prepared statement": Leftover(sql("PREPARE left1 FROM 'SELECT 1'"), works("EXECUTE left1")),
        "another database": Leftover(sql("USE other"), finds("SELECT DATABASE()", "other")),
        "SET autocommit": Leftover(sql("SET autocommit = 1"), finds("SELECT @@autocommit", 1), always_goes=True),
        "a half-read reply": Leftover(
            lambda row, db: row.half_read(db), lambda row, db: row.ask(db, 1)[0] != row.ask(db, 1)[1], always_goes=True
        ),
    }
    impossible: ClassVar = {
        **OF_REDIS,
        "LISTEN": "MySQL has no LISTEN",
        "another search_path": "MySQL has no schemas below a database",
        "query, drops an open cursor": "the library runs no query while rows of another one are unread",
    }

    def __init__(self) -> None:
        self._gate: Any = None

    def make_server(self) -> Any:
        from examples.servers import MariaDB

        return MariaDB(tls=True)

    def start(self) -> None:
        super().start()
        self.server.query(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
        self.server.query("CREATE DATABASE other")
        self.server.query("CREATE TABLE car (name VARCHAR(200)) ENGINE=InnoDB", database=DATABASE)
        self.server.query("CREATE TABLE leftover (name VARCHAR(50)) ENGINE=InnoDB", database=DATABASE)

    def version(self) -> str:
        return f"MariaDB {self.server.query('SELECT VERSION()')[0][0].partition('-')[0]}"

    def is_committed(self, value: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM car WHERE name = %s", (value,), database=DATABASE))

    def hold(self) -> None:
        self._gate = self.server.connect(autocommit=True)
        with self._gate.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK('gate', 60)")
            assert cursor.fetchone() == (1,)

    def release(self) -> None:
        self._gate.close()

    def block(self, row: Row, db: Any) -> bool:
        answer = row.run(db, "SELECT GET_LOCK('gate', 60) + 4")
        row.run(db, "DO RELEASE_LOCK('gate')")
        return answer == [(5,)]

    def is_blocked(self) -> bool:
        return bool(self.server.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE = 'User lock'"))

    def has_session(self, session_id: str) -> bool:
        return bool(self.server.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s", (session_id,)))

    def kill(self, session_id: str) -> None:
        self.server.kill_session(int(session_id))

    def idle_out(self, row: Row, db: Any) -> AbstractContextManager[Any]:
        row.run(db, "SET SESSION wait_timeout = 2")
        return nullcontext()
