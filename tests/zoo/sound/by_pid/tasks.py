"""A connection for each process, looked up by its id."""

import os

import pymysql

connections = {}


def connection():
    """Give the connection of this process."""
    pid = os.getpid()
    if pid not in connections:
        connections[pid] = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
    return connections[pid]


def work():
    """Stand for a task."""
    with connection().cursor() as cursor:
        return cursor.execute("SELECT 1")
