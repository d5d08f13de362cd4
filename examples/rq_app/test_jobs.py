"""How the application tests its jobs: without a worker, and the first of them without a database."""

import os
from unittest.mock import Mock

import pytest
from jobs import order, send_receipts
from settings import TASKCONN_DATABASES

import taskconn.testing


def test_order_of_a_car_that_is_not_in_stock_fails():
    """`__wrapped__` is the plain function: it takes anything for a connection."""
    db = Mock()
    db.cursor().execute.return_value = 0

    with pytest.raises(LookupError, match="no Mini in stock"):
        order.__wrapped__(db, "Mini", "Ada")


def test_job_gets_what_the_test_puts_in_its_place():
    """`override` gives every lease of an alias the test's own object, however the job is called."""
    db = Mock()
    db.cursor().execute.return_value = 0

    with taskconn.testing.override("default", db), pytest.raises(LookupError, match="no Beetle"):
        order("Beetle", "Ada")


@pytest.mark.skipif("SHOP_URL" not in os.environ, reason="needs a database: SHOP_URL")
def test_order_takes_from_the_stock():
    """`sandbox` runs jobs on the real database, and rolls all of it back."""
    taskconn.configure(TASKCONN_DATABASES)  # in a worker RQ's `-c settings` does it

    with taskconn.testing.sandbox() as db:
        order("Beetle", "Ada")

        assert send_receipts() == 1
        cursor = db.cursor()
        cursor.execute("SELECT number FROM stock WHERE car = 'Beetle'")
        assert cursor.fetchone() == (1,)
