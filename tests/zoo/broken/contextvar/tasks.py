"""A connection in a context variable."""

import contextvars
import os

import psycopg2

current = contextvars.ContextVar("current")
current.set(psycopg2.connect(os.environ["POSTGRES_DSN"]))


def work():
    """Stand for a task."""
    with current.get().cursor() as cursor:
        return cursor.execute("SELECT 1")
