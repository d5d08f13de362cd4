"""A connection for each thread, made when first needed, in children only."""

import os
import threading

import pymysql

held = threading.local()


def work():
    """Stand for a task."""
    if not hasattr(held, "conn"):
        held.conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
    with held.conn.cursor() as cursor:
        return cursor.execute("SELECT 1")
