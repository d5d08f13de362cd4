"""SQLAlchemy's own recipe: `dispose(close=False)` in each child."""

import os

from celery import Celery
from celery.signals import worker_init, worker_process_init
from sqlalchemy import create_engine, text

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)
engine = create_engine(os.environ["SQLALCHEMY_URL"])


@worker_init.connect
def look(**_):
    """Use the database in the worker itself."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


@worker_process_init.connect
def renew(**_):
    """Begin anew in each child."""
    engine.dispose(close=False)


@app.task
def work():
    """Use it."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
