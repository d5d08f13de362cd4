"""Children that are spawned inherit nothing."""

import multiprocessing
import os

import pymysql


def work(number):
    """Stand for a task."""
    return number


def main():
    """Read what is to be done, and let others do it."""
    conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.map(work, cursor.fetchone())
    conn.close()


if __name__ == "__main__":
    main()
