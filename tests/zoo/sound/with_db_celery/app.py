"""A task of Celery's with a connection of taskconn's, which its worker has opened before the fork, too."""

import os

from celery import Celery
from celery.signals import worker_init

import taskconn
from taskconn import with_db

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)
app.conf.taskconn_databases = {"default": os.environ["MYSQL_URL"]}


@worker_init.connect
def look(**_):
    """Use the same database in the worker itself."""
    with taskconn.lease() as db, db.cursor() as cursor:
        cursor.execute("SELECT 1")


@app.task
@with_db
def work(db):
    """Use it."""
    with db.cursor() as cursor:
        cursor.execute("SELECT 1")
