"""Celery's `worker_init` is the parent's: what it opens is every child's."""

import os

import pymysql
from celery import Celery
from celery.signals import worker_init

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)
held = {}


@worker_init.connect
def connect(**_):
    """Connect as the worker starts."""
    held["conn"] = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])


@app.task
def work():
    """Use it."""
    held["conn"].ping()
