"""`dispose()` in the child without `close=False` says goodbye over the parent's sessions."""

import os

from celery import Celery
from celery.signals import worker_process_init
from sqlalchemy import create_engine, text

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)

engine = create_engine(os.environ["SQLALCHEMY_URL"])
with engine.connect() as connection:
    connection.execute(text("SELECT 1"))


@worker_process_init.connect
def renew(**_):
    """Begin anew in each child, or so it seems."""
    engine.dispose()


@app.task
def work():
    """Use it."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
