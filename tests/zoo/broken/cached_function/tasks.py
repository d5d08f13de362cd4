"""`lru_cache` around the function that connects, which was called at import."""

import functools
import os

import pymysql


@functools.lru_cache
def connection():
    """Connect once."""
    return pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])


connection().ping()


def work():
    """Stand for a task."""
    with connection().cursor() as cursor:
        return cursor.execute("SELECT 1")
