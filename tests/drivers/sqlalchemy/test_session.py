"""SQLAlchemy: what a task may change, and what is put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from taskconn import lease
from tests.drivers.sqlalchemy.cars import names
from tests.support.databases import MySQLDatabase


def test_isolation_level_is_put_back(aliases: Callable[..., Any]) -> None:
    """One task's isolation level, and its other execution options, are not the next one's."""
    handle = aliases()
    with lease(handle) as db:
        usual = db.connection().get_isolation_level()
    with lease(handle) as db:
        db.connection(execution_options={"isolation_level": "SERIALIZABLE", "mark": 1})
        assert db.connection().get_isolation_level() == "SERIALIZABLE"
    with lease(handle) as db:
        assert db.connection().get_isolation_level() == usual
        assert "mark" not in db.connection().get_execution_options()


@pytest.mark.parametrize("has_statement", [True, False], ids=["with a statement", "without"])
def test_autocommit_of_the_library_is_put_back(
    aliases: Callable[..., Any], cars: MySQLDatabase, *, has_statement: bool
) -> None:
    """A task that switches autocommit on by the DBAPI's own method leaves a connection that rolls back."""
    handle = aliases(inject="connection")
    with lease(handle) as db:
        db.connection.autocommit(True)
        if has_statement:
            db.scalar(text("SELECT 1"))

    with pytest.raises(ZeroDivisionError), lease(handle) as db:
        db.execute(text("INSERT INTO car (name) VALUES ('Volvo')"))
        raise ZeroDivisionError
    assert names(cars) == []


def test_reset_function_gets_what_the_task_gets(aliases: Callable[..., Any]) -> None:
    """A reset may send statements: the transaction that they begin ends with it."""
    handle = aliases(reset=lambda db: db.execute(text("SET @mark = NULL")))
    with lease(handle) as db:
        first = db.scalar(text("SELECT CONNECTION_ID() FROM (SELECT @mark := 1) AS set_mark"))
    with lease(handle) as db:
        assert db.scalar(text("SELECT @mark")) is None
        assert db.scalar(text("SELECT CONNECTION_ID()")) == first


def test_reset_replaces_the_connection(aliases: Callable[..., Any]) -> None:
    """No dialect has a reset of its own: only a new connection is clean for certain."""
    handle = aliases(reset=True)
    with lease(handle) as db:
        first = db.scalar(text("SELECT CONNECTION_ID()"))
    with lease(handle) as db:
        assert db.scalar(text("SELECT CONNECTION_ID()")) != first
