"""PyMySQL: the arguments of its connections, and its label."""

from __future__ import annotations

import os
from typing import Any

import pymysql
import pymysql.cursors
import pytest

from examples.servers import MariaDB
from taskconn.drivers.pymysql import Connection
from taskconn.errors import InvalidSettingsError
from taskconn.options import Options
from tests.drivers.pymysql.client import driver, execute, target_in
from tests.drivers.rows import target_of
from tests.support.databases import MySQLDatabase


def test_defaults_are_utf8mb4_and_no_autocommit(db: Connection) -> None:
    """Without a word in the URL the connection is as PyMySQL has it."""
    assert execute(db, "SELECT @@character_set_client, @@autocommit").fetchone() == ("utf8mb4", 0)


def test_strings_of_the_url_become_what_pymysql_takes(mysql_database: MySQLDatabase) -> None:
    """Numbers, truths and classes are read from the URL by the type of the argument."""
    query = {"read_timeout": "2.5", "cursorclass": "DictCursor", "use_unicode": "false", "local_infile": "1"}
    db = driver.open(target_in(mysql_database, **query), 5)

    assert (db._read_timeout, db.cursorclass, db.use_unicode) == (2.5, pymysql.cursors.DictCursor, False)
    driver.close(db, 1)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("read_timeout", "soon", "Mend the value"),
        ("use_unicode", "perhaps", "true or false was expected"),
        ("cursorclass", "os.system", "pymysql.cursors was expected"),
        ("conv", "{}", "connect_args="),
    ],
)
def test_string_that_cannot_be_read_is_refused(mysql_database: MySQLDatabase, name: str, text: str, hint: str) -> None:
    """A value of the wrong kind is named before anything is opened."""
    with pytest.raises(InvalidSettingsError, match=hint):
        driver.validate(target_in(mysql_database, **{name: text}))


@pytest.mark.parametrize("how", [{"query": {"autocommit": "1"}}, {"connect_args": {"autocommit": None}}])
def test_autocommit_needs_transaction_none(mysql_database: MySQLDatabase, how: dict[str, Any]) -> None:
    """Where the lease is to roll back, autocommit is refused; with transaction="none" it is the task's own."""
    with pytest.raises(InvalidSettingsError, match='transaction="none"'):
        driver.validate(target_of(mysql_database.url, **how))

    driver.validate(target_of(mysql_database.url, **how, options=Options(transaction="none")))


@pytest.mark.parametrize("options", [Options(), Options(label=False)])
def test_label_names_alias_and_process(options: Options) -> None:
    """The server's people see which process a session belongs to, unless label is off."""
    with MariaDB(performance_schema=True) as server:
        db = driver.open(target_of(server.url("mysql"), options=options), 5)
        asked = (
            "SELECT ATTR_VALUE FROM performance_schema.session_connect_attrs "
            "WHERE ATTR_NAME='program_name' AND PROCESSLIST_ID=CONNECTION_ID()"
        )
        found = execute(db, asked).fetchall()
        driver.close(db, 1)

    if options.label:
        assert found[0][0].startswith("taskconn:default:")
        assert found[0][0].endswith(f":{os.getpid()}")
    else:
        assert found == ()
