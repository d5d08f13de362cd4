"""RQ calls the failure callback of an abandoned job in the worker itself; every later horse inherits."""

import os

import pymysql

held = {}


def work():
    """Do nothing."""


def record(*_):
    """Write to the database, over a connection that is kept."""
    if "conn" not in held:
        held["conn"] = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
    held["conn"].ping()
