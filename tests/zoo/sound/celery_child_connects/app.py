"""Celery's `worker_process_init` is each child's: what it opens is that child's."""

import os

import pymysql
from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)
held = {}


@worker_process_init.connect
def connect(**_):
    """Connect in each child."""
    held["conn"] = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])


@worker_process_shutdown.connect
def close(**_):
    """Say goodbye."""
    held.pop("conn").close()


@app.task
def work():
    """Use it."""
    held["conn"].ping()
