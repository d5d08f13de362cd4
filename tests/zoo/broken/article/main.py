"""The article's program: ten processes over the connection that their module has made."""

import multiprocessing
import os

import pymysql

conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])


def insert_car(name):
    """Insert one car."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT %s", (name,))
    conn.commit()


if __name__ == "__main__":
    processes = [multiprocessing.get_context("fork").Process(target=insert_car, args=("Mini",)) for _ in range(2)]
    for process in processes:
        process.start()
        process.join()
