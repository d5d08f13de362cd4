"""The article's program with one line changed."""

import multiprocessing
import os

import taskconn

taskconn.configure({"default": os.environ["MYSQL_URL"]})
conn = taskconn.proxy()


def insert_car(name):
    """Insert one car."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT %s", (name,))
    conn.commit()


if __name__ == "__main__":
    insert_car("Beetle")
    processes = [multiprocessing.get_context("fork").Process(target=insert_car, args=("Mini",)) for _ in range(2)]
    for process in processes:
        process.start()
        process.join()
