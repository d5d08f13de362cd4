"""A singleton that connects in `__new__`, made at import."""

import os

import pymysql


class Database:
    """Be the one database."""

    _instance = None

    def __new__(cls):
        """Connect once."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance.conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
        return cls._instance


database = Database()


def work():
    """Stand for a task."""
    with Database().conn.cursor() as cursor:
        return cursor.execute("SELECT 1")
