"""A thread that starts at import connects."""

import os
import threading

import pymysql

ready = threading.Event()
held = {}


def listen():
    """Connect, and wait for ever."""
    held["conn"] = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
    ready.set()
    threading.Event().wait()


threading.Thread(target=listen, daemon=True).start()
ready.wait(30)


def work():
    """Stand for a task."""
    with held["conn"].cursor() as cursor:
        return cursor.execute("SELECT 1")
