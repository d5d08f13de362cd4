"""A job of RQ's with a connection of taskconn's."""

from taskconn import with_db


@with_db
def work(db):
    """Use it."""
    with db.cursor() as cursor:
        cursor.execute("SELECT 1")
