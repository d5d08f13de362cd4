"""A connection that is a parameter's default."""

import os

import pymysql


def work(conn=pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])):
    """Stand for a task."""
    with conn.cursor() as cursor:
        return cursor.execute("SELECT 1")
