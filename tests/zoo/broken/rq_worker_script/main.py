"""A script of the user's connects, then works: every horse inherits."""

import os

import pymysql
from redis import Redis

from taskconn.rq import Worker

conn = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])

if __name__ == "__main__":
    Worker(["default"], connection=Redis.from_url(os.environ["REDIS_URL"])).work(burst=True)
