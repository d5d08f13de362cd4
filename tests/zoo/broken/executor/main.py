"""concurrent.futures: a module's connection in the workers of a ProcessPoolExecutor."""

import concurrent.futures
import multiprocessing
import os

import psycopg

conn = psycopg.connect(os.environ["POSTGRES_DSN"])


def work(number):
    """Stand for a task."""
    return conn.execute("SELECT %s", (number,)).fetchone()


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=fork) as executor:
        executor.submit(work, 1).result()
