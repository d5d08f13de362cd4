"""The same, by psycopg2."""

import os

import psycopg2

conn = psycopg2.connect(os.environ["POSTGRES_DSN"])
conn.autocommit = True


def work():
    """Stand for a task."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()
