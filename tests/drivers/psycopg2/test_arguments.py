"""psycopg2: the arguments of its connections, and what a task changes of them."""

from __future__ import annotations

import psycopg2
import psycopg2.extras
import pytest

import taskconn
from taskconn.errors import InvalidSettingsError
from tests.drivers.psycopg2.client import driver, url_of
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase


def test_strings_of_the_url_become_what_psycopg2_takes(postgresql_database: PostgreSQLDatabase) -> None:
    """A cursor class is named, libpq's arguments stay strings."""
    query = {"cursor_factory": "RealDictCursor", "sslmode": "disable"}
    db = driver.open(target_of(url_of(postgresql_database), query=query), 5)

    cursor = db.cursor()
    cursor.execute("SELECT 1 AS one")
    assert cursor.fetchone() == {"one": 1}
    assert db.info.dsn_parameters["sslmode"] == "disable"
    driver.close(db, 1)


def test_class_that_is_no_cursor_is_refused(postgresql_database: PostgreSQLDatabase) -> None:
    """A value of the wrong kind is named before anything is opened."""
    with pytest.raises(InvalidSettingsError, match=r"cursor class of psycopg2\.extras"):
        driver.validate(target_of(url_of(postgresql_database), query={"cursor_factory": "os.system"}))


def test_cursor_class_of_a_task_is_not_the_next_ones(postgresql_database: PostgreSQLDatabase) -> None:
    """What a task hangs on the client is taken off, and notices for it are forgotten."""
    cars = taskconn.Registry().add("cars", url_of(postgresql_database))
    with taskconn.lease(cars) as db:
        db.cursor_factory = psycopg2.extras.DictCursor
        db.cursor().execute("DO $$ BEGIN RAISE NOTICE 'psst'; END $$")

    with taskconn.lease(cars) as db:
        assert db.cursor_factory is None
        assert db.notices == []
    cars.registry.close()
