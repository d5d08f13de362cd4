"""How the application tests its tasks: without a worker, and the first of them without a database."""

import os
from unittest.mock import Mock

import pytest
from tasks import app, order

import taskconn.testing

app.conf.task_always_eager = True


def test_order_of_a_car_that_is_not_in_stock_fails():
    """The `__wrapped__` of what Celery runs is the plain function: it takes anything for a connection."""
    db = Mock()
    db.cursor().execute.return_value = 0

    with pytest.raises(LookupError, match="no Mini in stock"):
        order.run.__wrapped__(db, "Mini", "Ada")


def test_task_gets_what_the_test_puts_in_its_place():
    """`override` gives every lease of an alias the test's own object, however the task is called."""
    db = Mock()
    db.cursor().execute.return_value = 0

    with taskconn.testing.override("default", db), pytest.raises(LookupError, match="no Beetle"):
        order("Beetle", "Ada")


@pytest.mark.skipif("SHOP_URL" not in os.environ, reason="needs a database: SHOP_URL")
def test_order_takes_from_the_stock_and_sends_a_receipt():
    """`sandbox` runs tasks on the real database, eager ones and `after_commit` included, and rolls all of it back."""
    taskconn.configure({"default": os.environ["SHOP_URL"]})  # wins over the application's settings

    with taskconn.testing.sandbox() as db:
        order("Beetle", "Ada")

        cursor = db.cursor()
        cursor.execute("SELECT number FROM stock WHERE car = 'Beetle'")
        assert cursor.fetchone() == (1,)
        assert cursor.execute("SELECT order_id FROM receipts") == 1
