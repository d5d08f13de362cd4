"""A shop: orders take from the stock, or fail as a whole."""

from typing import Any

from celery import Celery

import taskconn
from taskconn import with_db

app = Celery("shop")
app.config_from_object("celeryconfig")


@app.task
@with_db
def order(db: Any, car: str, customer: str) -> None:
    """Take one *car* from the stock and note who ordered it: both, or neither."""
    cursor = db.cursor()
    if not cursor.execute("UPDATE stock SET number = number - 1 WHERE car = %s AND number > 0", (car,)):
        raise LookupError(f"There is no {car} in stock.")
    cursor.execute("INSERT INTO orders (car, customer) VALUES (%s, %s)", (car, customer))
    taskconn.after_commit(send_receipt.delay, car, customer)  # not for an order that is rolled back


@app.task
@with_db
def send_receipt(db: Any, car: str, customer: str) -> None:
    """Note that a receipt was sent: it sees the order, for that was committed before."""
    cursor = db.cursor()
    cursor.execute("SELECT id FROM orders WHERE car = %s AND customer = %s", (car, customer))
    cursor.execute("INSERT INTO receipts (order_id) VALUES (%s)", cursor.fetchone())
