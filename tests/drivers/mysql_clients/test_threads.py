"""mysqlclient and mysql-connector-python: a connection that two threads share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from taskconn.driver import Driver
from tests.drivers.mysql_clients.clients import HANG_S, each_client, execute, rows
from tests.support.databases import MySQLDatabase

pytestmark = each_client


@pytest.fixture
def answering(mysql_database: MySQLDatabase) -> Iterator[threading.Event]:
    """Give the event at whose setting the server answers what waits for the lock `busy`."""
    event = threading.Event()
    holder = mysql_database.connect()
    holder.cursor().execute("SELECT GET_LOCK('busy', 0)")

    def hold() -> None:
        event.wait()
        holder.close()

    thread = threading.Thread(target=hold)
    thread.start()
    yield event
    event.set()
    thread.join()


@pytest.fixture
def busy(driver: Driver[Any], db: Any, answering: threading.Event) -> Iterator[tuple[threading.Thread, list[Any]]]:
    """Give a thread that waits for its answer, and the list that will have it, or its error."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            with db.cursor() as cursor:
                cursor.execute("SELECT GET_LOCK('busy', 60), 'right'")
                answers.extend(cursor.fetchall())
        except driver.errors as error:
            answers.append(error)

    before = db.touches
    thread = threading.Thread(target=ask)
    thread.start()
    while db.touches == before:
        time.sleep(0.01)
    yield thread, answers
    answering.set()
    thread.join()


def test_second_thread_is_refused_and_the_first_gets_its_answer(
    driver: Driver[Any], db: Any, busy: tuple[threading.Thread, list[Any]], answering: threading.Event
) -> None:
    """A connection that is shared by mistake gives nobody somebody else's answer."""
    thread, answers = busy

    with pytest.raises(driver.errors, match="in use by another thread"):
        execute(db, "SELECT 'wrong'")

    answering.set()
    thread.join()
    assert [tuple(answer) for answer in answers] == [(1, "right")]
    assert rows(db, "SELECT 'mine'") == [("mine",)]


def test_invalidation_wakes_a_thread_that_waits(
    driver: Driver[Any], db: Any, busy: tuple[threading.Thread, list[Any]]
) -> None:
    """Dropping a connection from another thread neither waits for its answer nor leaves the thread waiting."""
    thread, answers = busy

    driver.invalidate(db)
    thread.join(HANG_S)

    assert not thread.is_alive()
    assert isinstance(answers[0], driver.errors)
