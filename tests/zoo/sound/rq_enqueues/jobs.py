"""RQ's own connections: a job that enqueues another one, in a module that does so at import, too."""

import os

from redis import Redis
from rq import Queue

queue = Queue("later", connection=Redis.from_url(os.environ["REDIS_URL"]))
queue.enqueue("jobs.nothing")


def nothing():
    """Do nothing."""


def work():
    """Enqueue."""
    queue.enqueue("jobs.nothing")
