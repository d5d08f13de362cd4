"""psycopg 3: the arguments of its connections."""

from __future__ import annotations

import psycopg
import psycopg.rows
import pytest

from taskconn.errors import InvalidSettingsError
from tests.drivers.psycopg.client import driver
from tests.drivers.rows import target_of
from tests.support.databases import PostgreSQLDatabase


def test_strings_of_the_url_become_what_psycopg_takes(postgresql_database: PostgreSQLDatabase) -> None:
    """Factories are named, thresholds are numbers or none, libpq's arguments stay strings."""
    query = {
        "row_factory": "dict_row",
        "cursor_factory": "ClientCursor",
        "prepare_threshold": "none",
        "sslmode": "disable",
    }
    db = driver.open(target_of(postgresql_database.url, query=query), 5)

    assert (db.row_factory, db.cursor_factory, db.prepare_threshold) == (
        psycopg.rows.dict_row,
        psycopg.ClientCursor,
        None,
    )
    assert db.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    driver.close(db, 1)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("row_factory", "os.system", "dict_row"),
        ("cursor_factory", "connect", "cursor class of psycopg"),
        ("prepare_threshold", "soon", "Mend the value"),
        ("context", "{}", "connect_args="),
    ],
)
def test_string_that_cannot_be_read_is_refused(
    postgresql_database: PostgreSQLDatabase, name: str, text: str, hint: str
) -> None:
    """A value of the wrong kind is named before anything is opened."""
    with pytest.raises(InvalidSettingsError, match=hint):
        driver.validate(target_of(postgresql_database.url, query={name: text}))


def test_host_with_several_addresses_is_tried_at_each(postgresql_database: PostgreSQLDatabase) -> None:
    """Of a list of hosts the first that answers is taken, within the one timeout."""
    server = postgresql_database.server
    url = f"postgresql:///{postgresql_database.name}?host=127.0.0.9,{server.host}&port=1,{server.port}"
    db = driver.open(target_of(url, user=server.user, password=server.password), 5)

    assert db.info.port == server.port
    driver.close(db, 1)
