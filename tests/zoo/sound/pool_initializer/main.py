"""Each child connects in the pool's initializer."""

import multiprocessing
import os

import pymysql

held = {}


def connect():
    """Connect in each child."""
    held["conn"] = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])


def work(number):
    """Stand for a task."""
    with held["conn"].cursor() as cursor:
        return cursor.execute("SELECT %s", (number,))


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2, initializer=connect) as pool:
        pool.map(work, [1, 2, 3])
