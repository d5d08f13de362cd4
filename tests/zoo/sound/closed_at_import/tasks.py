"""What is read at import is read over a connection that is closed again."""

import contextlib
import os

import pymysql

with contextlib.closing(pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])) as conn:
    with conn.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone()


def work():
    """Stand for a task."""
    return version
