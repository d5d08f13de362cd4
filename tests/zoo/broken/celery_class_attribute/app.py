"""celery #4607: the manual's DatabaseTask, whose connection the worker's own process has touched."""

import os

import psycopg
from celery import Celery, Task
from celery.signals import worker_init

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)


class DatabaseTask(Task):
    """Keep a connection on the class, as Celery's manual shows it."""

    _db = None

    @property
    def db(self):
        """Open it when first used."""
        if self._db is None:
            DatabaseTask._db = psycopg.connect(os.environ["POSTGRES_DSN"], autocommit=True)
        return self._db


@app.task(base=DatabaseTask, bind=True)
def work(self):
    """Use it."""
    self.db.execute("SELECT 1")


@worker_init.connect
def check_database(**_):
    """See whether the database is there, before there are children."""
    work.db.execute("SELECT 1")
