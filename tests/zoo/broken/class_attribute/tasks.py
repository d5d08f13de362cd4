"""A connection that is an attribute of a class."""

import os

import pymysql


class Cars:
    """Store cars."""

    conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])

    def count(self):
        """Count them."""
        with self.conn.cursor() as cursor:
            return cursor.execute("SELECT 1")


def work():
    """Stand for a task."""
    return Cars().count()
