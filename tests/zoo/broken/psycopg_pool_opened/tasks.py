"""psycopg_pool: the child gets the parent's connections, and none of its threads."""

import os

from psycopg_pool import ConnectionPool

pool = ConnectionPool(os.environ["POSTGRES_DSN"], min_size=1, open=True)
pool.wait(30)


def work():
    """Stand for a task."""
    with pool.connection(timeout=2) as connection:
        return connection.execute("SELECT 1").fetchone()
