"""A connection made at import, by a driver in Python."""

import os

import pymysql

conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])


def work():
    """Stand for a task."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()
