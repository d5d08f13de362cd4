"""A shop: orders take from the stock, or fail as a whole."""

from typing import Any

from rq import Retry

import taskconn
from taskconn import with_db


@with_db
def order(db: Any, car: str, customer: str) -> None:
    """Take one *car* from the stock and note who ordered it: both, or neither."""
    cursor = db.cursor()
    if not cursor.execute("UPDATE stock SET number = number - 1 WHERE car = %s AND number > 0", (car,)):
        raise LookupError(f"There is no {car} in stock.")
    cursor.execute("INSERT INTO orders (car, customer) VALUES (%s, %s)", (car, customer))
    taskconn.after_commit(print, f"{customer} has ordered a {car}")  # not for an order that is rolled back


@with_db
def send_receipts(db: Any) -> int | Retry:
    """Note a receipt for every order; try again later if there is none, and leave nothing behind until then."""
    sent = db.cursor().execute("INSERT INTO receipts SELECT id FROM orders WHERE id NOT IN (SELECT * FROM receipts)")
    return sent or Retry(max=3)
