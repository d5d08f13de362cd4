"""The same, by a driver in C that raises no audit event."""

import os

import MySQLdb

conn = MySQLdb.connect(read_default_file=os.environ["MYSQL_CNF"])


def work():
    """Stand for a task."""
    cursor = conn.cursor()
    cursor.execute("SELECT 1")
    return cursor.fetchone()
