"""
RQ: its worker classes, with connections of their own for each work horse.

``rq worker --worker-class taskconn.rq.Worker -c settings``, where ``settings.TASKCONN_DATABASES`` says how to connect.
Importing it opens nothing and reads no settings: the core does so wherever RQ is loaded, in producers too.
"""

from ._context import current_job_context
from ._enqueue import enqueue_on_commit
from ._pool import WorkerPool
from ._warm import WarmHerokuWorker, WarmWorker, WarmWorkerMixin
from ._worker import (
    HerokuWorker,
    RandomWorker,
    RoundRobinWorker,
    SimpleWorker,
    SpawnWorker,
    Worker,
    WorkerMixin,
)

__all__ = [
    "HerokuWorker",
    "RandomWorker",
    "RoundRobinWorker",
    "SimpleWorker",
    "SpawnWorker",
    "WarmHerokuWorker",
    "WarmWorker",
    "WarmWorkerMixin",
    "Worker",
    "WorkerMixin",
    "WorkerPool",
    "current_job_context",
    "enqueue_on_commit",
]
