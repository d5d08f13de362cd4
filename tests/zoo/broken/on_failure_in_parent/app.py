"""After a hard time limit `on_failure` runs in the worker's own process, which then forks the next child."""

import os
import time

import pymysql
from celery import Celery, Task

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(imports=["taskconn.celery"], task_ignore_result=True)
held = {}


class Recorded(Task):
    """Record failures."""

    def on_failure(self, *_):
        """Write to the database, over a connection that is kept."""
        if "conn" not in held:
            held["conn"] = pymysql.connect(read_default_file=os.environ["MYSQL_CNF"])
        held["conn"].ping()


@app.task(base=Recorded, time_limit=1)
def work():
    """Take too long."""
    time.sleep(60)
