"""A scoped session that reads the schedule from the database as the app is configured."""

import os

from celery import Celery
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)

Session = scoped_session(sessionmaker(create_engine(os.environ["SQLALCHEMY_URL"])))


@app.on_after_configure.connect
def add_periodic_tasks(sender, **_):
    """Ask the database what is to run, and when."""
    seconds = Session.execute(text("SELECT 3600")).scalar()
    sender.add_periodic_task(float(seconds), work.s())


@app.task
def work():
    """Use it."""
    Session.execute(text("SELECT 1"))
