"""Workers that are asked to stop at a moment that seldom comes."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from typing import Any

import redis
import rq.worker
from rq.queue import Queue
from rq.worker import BaseWorker

import taskconn.rq


class OwnClient(taskconn.rq.WarmWorker):
    """Use a client that waits in its own way."""

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        super().bootstrap(*args, **kwargs)
        self.connection.__class__ = _OwnClient


class _OwnClient(redis.Redis):
    def blmove(self, *args: Any, **kwargs: Any) -> Any:
        return super().blmove(*args, **kwargs)


class _Unblocking(taskconn.rq.WarmWorker):
    """Be asked to end the wait by a client whose request is changed."""

    def _ask(self, client: Any, connection: Any, command: Any) -> Any:
        unblock, asked = type(client).client_unblock, list[int]()

        def client_unblock(session: int) -> Any:
            asked.append(session)
            return self._unblock(functools.partial(unblock, client, session), len(asked))

        client.client_unblock = client_unblock
        return super()._ask(client, connection, command)

    def _unblock(self, unblock: Callable[[], Any], number: int) -> Any:
        raise NotImplementedError


class UnblockedTooEarly(_Unblocking):
    """Have the first request come before the command that waits."""

    def _unblock(self, unblock: Callable[[], Any], number: int) -> Any:
        print(f"asked {number}", flush=True)
        return unblock() if number > 1 else 0


class UnblockedElsewhere(_Unblocking):
    """Have another server asked, which has a session of that number, too."""

    def _unblock(self, unblock: Callable[[], Any], number: int) -> Any:
        return 1


class JobAtTheBell(_Unblocking):
    """Be given a job by the server in the moment in which the wait for one is to be ended."""

    def _unblock(self, unblock: Callable[[], Any], number: int) -> Any:
        Queue(connection=self.connection).enqueue("tests.rq.warm_jobs.pid")
        return unblock()


class _StoppedInHeartbeat(BaseWorker):
    """Be asked to stop, once, in a heartbeat that finds Redis gone."""

    _is_asked = False

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        try:
            self.connection.ping()
        except redis.ConnectionError:
            if not self._is_asked:
                self._is_asked = True
                os.kill(os.getpid(), signal.SIGTERM)
            raise
        super().heartbeat(timeout, pipeline)


class StoppedInHeartbeat(taskconn.rq.WorkerMixin, _StoppedInHeartbeat, rq.worker.Worker):
    pass
