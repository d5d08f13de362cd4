"""Each task connects, and closes."""

import contextlib
import os

import pymysql


def work():
    """Stand for a task."""
    with contextlib.closing(pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])) as conn:
        with conn.cursor() as cursor:
            return cursor.execute("SELECT 1")
