"""RQ's pool of workers, with taskconn's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rq.worker_pool
from rq.queue import Queue
from rq.worker import BaseWorker

from ._preload import preload
from ._warm import WarmWorker
from ._worker import Worker, recycle_at_signal

__all__ = ["WorkerPool"]


class WorkerPool(rq.worker_pool.WorkerPool):
    """
    Run several workers, as `rq.worker_pool.WorkerPool` does.

    Args:
        queues, connection, num_workers: As RQ has them.
        worker_class: `Worker`, or `WarmWorker` if *warm*, unless said otherwise.
        warm: Let each worker keep one work horse for many jobs.
        preload: Names of modules to import before the workers are forked, so that none of them has to.
        args, kwargs: As RQ has them.
    """

    def __init__(
        self,
        queues: Iterable[str | Queue],
        connection: Any,  # a `redis.Redis`
        num_workers: int = 1,
        worker_class: type[BaseWorker] | None = None,
        *args: Any,
        warm: bool = False,
        preload: Iterable[str] | str = (),
        **kwargs: Any,
    ) -> None:
        self._preload = preload
        worker_class = worker_class or (WarmWorker if warm else Worker)
        super().__init__(queues, connection, num_workers, worker_class, *args, **kwargs)

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the workers, and watch them until they have ended."""
        preload(self._preload, ())
        super().start(*args, **kwargs)

    def _install_signal_handlers(self) -> None:
        """Replace the connections of all workers at SIGUSR2, too, at their next safe moment."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]  # RQ is typed in part
        recycle_at_signal()
