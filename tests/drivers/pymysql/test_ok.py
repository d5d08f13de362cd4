"""PyMySQL: the reply to what returns no rows is read without PyMySQL, and says the same."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pymysql.connections
import pytest
from pymysql.err import IntegrityError, OperationalError

from taskconn.drivers.pymysql import Connection
from taskconn.drivers.pymysql._ok import read_ok
from tests.drivers.pymysql.client import execute
from tests.support.databases import MySQLDatabase

#: What PyMySQL reads out of a reply.
_PARTS = ("affected_rows", "insert_id", "server_status", "warning_count", "message")

_STATEMENTS = {
    "one row": "INSERT INTO numbered (name) VALUES ('a')",
    "a large id": "INSERT INTO numbered (id, name) VALUES (5000000000, 'b')",
    "an id of two bytes": "INSERT INTO numbered (id, name) VALUES (300, 'c')",
    "a message": "INSERT INTO numbered (name) VALUES ('d'), ('e'), ('f')",
    "300 rows": f"INSERT INTO numbered (name) VALUES {','.join(['(1)'] * 300)}",
    "warnings": "INSERT IGNORE INTO numbered (name) VALUES (REPEAT('x', 60)), (REPEAT('y', 60))",
    "no row": "DELETE FROM numbered WHERE id < 0",
    "rows of UPDATE": "UPDATE numbered SET name = CONCAT(name, '!') WHERE LENGTH(name) < 40",
    "no rows at all": "SET @a = 1",
    "rows": "SELECT 1, 'two'",
}


@pytest.mark.parametrize("statement", _STATEMENTS.values(), ids=_STATEMENTS)
def test_reply_says_what_pymysql_makes_of_it(db: Connection, mysql_database: MySQLDatabase, statement: str) -> None:
    """Number of rows, id, status, warnings and message are those that PyMySQL reads."""
    found = []
    for connection in (db, pymysql.connect(**_arguments(db))):
        mysql_database.query(
            "CREATE OR REPLACE TABLE numbered (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50))"
        )
        execute(connection, "INSERT INTO numbered (name) VALUES ('first')")
        cursor = execute(connection, statement)
        result = connection._result
        found.append(
            [getattr(result, part) for part in _PARTS]
            + [bool(result.has_next), cursor.rowcount, cursor.lastrowid, cursor.fetchall(), connection.insert_id()]
        )
        connection.rollback()
        if connection is not db:
            connection.close()

    assert found[0] == found[1]


def test_reply_with_another_one_behind_it_is_left_to_pymysql(mysql_database: MySQLDatabase, db: Connection) -> None:
    """A procedure's rows come in front of its reply, several statements have one each: none is taken for the last."""
    mysql_database.query("CREATE PROCEDURE two() BEGIN SELECT 1; SELECT 2; END")
    cursor = db.cursor()

    cursor.execute("CALL two()")
    first = cursor.fetchall()
    assert cursor.nextset()
    second = cursor.fetchall()

    assert (first, second) == (((1,),), ((2,),))
    assert execute(db, "SELECT 3").fetchall() == ((3,),)


def test_error_is_pymysqls(db: Connection) -> None:
    """What the server refuses is raised as ever, and the connection goes on."""
    execute(db, "CREATE TEMPORARY TABLE one (id INT PRIMARY KEY)")
    execute(db, "INSERT INTO one VALUES (1)")

    with pytest.raises(IntegrityError, match="Duplicate entry '1'"):
        execute(db, "INSERT INTO one VALUES (1)")

    assert execute(db, "INSERT INTO one VALUES (2)").rowcount == 1


@pytest.fixture
def ends() -> Iterator[tuple[Any, socket.socket]]:
    """Give a connection of PyMySQL's that has sent a command, and the server's end."""
    ours, theirs = socket.socketpair()
    connection: Any = pymysql.connections.Connection(defer_connect=True)
    connection._sock, connection._rfile, connection._next_seq_id = ours, ours.makefile("rb"), 1
    with closing(ours), closing(theirs), closing(connection._rfile):
        yield connection, theirs


_OK = b"\x07\x00\x00\x01\x00\x01\x05\x02\x00\x03\x00"


def test_reply_is_taken_from_the_stream(ends: tuple[Any, socket.socket]) -> None:
    """The next one is the next command's."""
    connection, server = ends
    result = pymysql.connections.MySQLResult(connection)
    server.sendall(_OK)

    assert read_ok(connection, result)
    assert [getattr(result, part) for part in _PARTS] == [1, 5, 2, 3, b""]
    assert connection._next_seq_id == 2
    server.sendall(b"next")
    assert connection._rfile.read(4) == b"next"


@pytest.mark.parametrize(
    "reply",
    [
        *(_OK[:length] for length in range(1, len(_OK))),
        _OK + _OK,
        b"\x07\x00\x00\x02" + _OK[4:],
        b"\x07\x00\x00\x01\xfb" + _OK[5:],
        b"\x07\x00\x00\x01\xfe" + _OK[5:],
        b"\x07\x00\x00\x01\xff" + _OK[5:],
        b"\x07\x00\x00\x01\x00\xfc\x01\x01" + _OK[8:],
        b"\x07\x00\x00\x01\x00\x01\xfe\x01" + _OK[8:],
        b"\x07\x00\x00\x01\x00\x01\x05\x08\x00" + _OK[9:],
        b"\x07\x00\x01\x01" + _OK[4:],
    ],
)
def test_anything_else_is_left_as_it_is(ends: tuple[Any, socket.socket], reply: bytes) -> None:
    """Parts of a reply, two of them, rows, errors, large numbers: PyMySQL finds all of it where it was."""
    connection, server = ends
    server.sendall(reply)

    assert not read_ok(connection, pymysql.connections.MySQLResult(connection))
    assert connection._next_seq_id == 1
    assert connection._rfile.read(len(reply)) == reply


def test_lost_connection_is_pymysqls_error(ends: tuple[Any, socket.socket]) -> None:
    """It comes from where it always came."""
    connection, server = ends
    server.close()

    assert not read_ok(connection, pymysql.connections.MySQLResult(connection))
    with pytest.raises(OperationalError, match="Lost connection"):
        connection._read_bytes(4)


def _arguments(db: Connection) -> dict[str, Any]:
    return {
        "host": db.host,
        "port": db.port,
        "user": db.user.decode(),
        "password": db.password.decode(),
        "database": db.db.decode() if isinstance(db.db, bytes) else db.db,
        "charset": "utf8mb4",
    }
