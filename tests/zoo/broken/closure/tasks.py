"""A connection that only a closure holds."""

import os

import pymysql


def make_work():
    """Make a task that has its connection at hand."""
    conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])

    def work():
        """Stand for a task."""
        with conn.cursor() as cursor:
            return cursor.execute("SELECT 1")

    return work


work = make_work()
