"""A warm shutdown between two jobs: noted wherever it comes, obeyed where nothing is half done."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import redis  # RQ's own client
from rq.exceptions import StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.worker import BaseWorker, WorkerStatus

__all__ = ["ShutdownMixin"]

#: Code of RQ's that only sleeps, or looks around, as long as no function that it has called is at work.
_SUSPENDED = BaseWorker.check_for_suspension.__code__
_WAITING = BaseWorker.dequeue_job_and_maintain_ttl.__code__

#: Longest time from asking a server to end a wait to its reply, in seconds, and after how many it is asked again.
_UNBLOCKED_IN_S = 5.0
_LOOK_S = 0.1


class ShutdownMixin(BaseWorker):
    """
    Stop a worker that runs no job without tearing its conversation with Redis apart.

    RQ's signal handler raises `StopRequested` at whatever instruction it has interrupted. In rq 3.0.0 with redis-py
    8.1.0 about one in ten lines between two jobs is a bad one:

    1. A reply that was not read yet answers the worker's next command, by which it ends in an error, with 1.
    2. redis-py drops what is raised while it counts operations: the worker goes on until a job comes, or minutes pass.
    3. A job that was just taken is lost, or found a minute later and called failed.

    Here the handler notes the request. The loop looks at it between two jobs, and a wait for a job is ended at the
    server (``CLIENT UNBLOCK``), which has either given a job, that is run then, or gives none any more.

    Source:
        Experiment: SIGTERM at each line of Python that a worker runs after a job, until it waits for the next one
        (tests/rq/moments.py).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._bell: _Bell | None = None
        self._is_interruptible = False
        super().__init__(*args, **kwargs)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Note that the worker is to stop; where RQ only sleeps it stops at once."""
        self._is_interruptible = self._is_interruptible or _is_at_rest(frame)
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # RQ is typed in part

    def _shutdown(self) -> None:
        if self.get_state() == WorkerStatus.BUSY:
            super()._shutdown()  # type: ignore[no-untyped-call]  # RQ is typed in part
            return
        self._stop_requested = True
        if self._is_interruptible:
            raise StopRequested
        if self._bell is not None:
            self._bell.ring()

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Take the next job; a wait for one can be ended. With a client that is not redis-py's own it is as in RQ."""
        client = self.connection
        is_plain = _is_plain(client)
        if timeout is not None and is_plain:
            vars(client).update(blmove=self._blmove, blpop=self._blpop)
        self._is_interruptible = timeout is not None and not is_plain
        try:
            return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        finally:
            self._is_interruptible = False
            for name in ("blmove", "blpop"):
                vars(client).pop(name, None)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that the worker lives; one that can't, and is to stop, stops, where RQ tries again and again."""
        try:
            super().heartbeat(timeout, pipeline)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if self._stop_requested and self.get_state() != WorkerStatus.BUSY:
                raise StopRequested from error
            raise

    def teardown(self) -> None:
        """End the worker."""
        try:
            super().teardown()  # type: ignore[no-untyped-call]  # RQ is typed in part
        finally:
            bell, self._bell = self._bell, None
            if bell is not None:
                bell.close()

    def _blmove(self, source: str, destination: str, timeout: float, src: str = "LEFT", dest: str = "RIGHT") -> Any:
        return self._wait("BLMOVE", source, destination, src, dest, timeout)

    def _blpop(self, keys: Any, timeout: float = 0) -> Any:
        return self._wait("BLPOP", *keys, timeout)

    def _wait(self, *command: Any) -> Any:
        """Send a command that blocks, and wait for its reply; with redis-py's own retries."""
        client: Any = self.connection
        if self._bell is None:
            self._bell = _Bell()
        self._leave_if_asked()
        connection = _take(client.connection_pool)
        try:
            return connection.retry.call_with_retry(
                lambda: self._ask(client, connection, command), lambda _: self._failed(connection)
            )
        except redis.ResponseError:
            raise
        except BaseException:  # a reply may be on its way
            connection.disconnect()
            raise
        finally:
            client.connection_pool.release(connection)

    def _ask(self, client: Any, connection: Any, command: tuple[Any, ...]) -> Any:
        connection.send_packed_command(connection.pack_commands([("CLIENT", "ID"), command]))
        session = _session(connection)
        while not connection.can_read(0):
            if self._stop_requested:
                _unblock(client, connection, session)
                break
            if self._bell is not None:
                self._bell.listen(connection)
        return client.parse_response(connection, command[0])

    def _failed(self, connection: Any) -> None:
        connection.disconnect()
        self._leave_if_asked()

    def _leave_if_asked(self) -> None:
        if self._stop_requested:
            raise StopRequested


class _Bell:
    """Wake who waits for a server: a signal handler can't do it otherwise. It is a pipe."""

    def __init__(self) -> None:
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)

    def ring(self) -> None:
        """Wake who waits, or who is about to."""
        with suppress(BlockingIOError):  # it rings already
            os.write(self._ends[1], b"!")

    def listen(self, connection: Any) -> None:
        """
        Wait until something comes from the server, or the bell rings.

        Raises:
            redis.TimeoutError: Nothing did for as long as the client waits for a reply.
        """
        poll = select.poll()
        for source in (connection._sock, self._ends[0]):  # noqa: SLF001 -- redis-py has no name for its socket
            poll.register(source, select.POLLIN)
        patience_s = connection.socket_timeout
        if not poll.poll(None if patience_s is None else patience_s * 1000):
            raise redis.TimeoutError("Timeout reading from socket")
        with suppress(BlockingIOError):  # a horse that has just been forked may have rung it
            os.read(self._ends[0], 64)

    def close(self) -> None:
        """Ring no more."""
        for end in self._ends:
            os.close(end)


def _is_at_rest(frame: FrameType | None) -> bool:
    """Tell whether this is RQ's code that waits for a job, or for the end of a suspension, and has no job in hand."""
    if frame is None:
        return False
    return frame.f_code is _SUSPENDED or (frame.f_code is _WAITING and frame.f_locals.get("result") is None)


def _is_plain(client: Any) -> bool:
    """Tell whether this is redis-py's own client, with a pool."""
    kind = type(client)
    return (
        isinstance(client, redis.Redis)
        and client.connection is None
        and kind.blmove is redis.Redis.blmove
        and kind.blpop is redis.Redis.blpop
        and hasattr(select, "poll")
    )


def _take(pool: Any) -> Any:
    """Take a connection out of the pool."""
    try:
        return pool.get_connection()
    except TypeError:  # redis-py before 5.3 asks for the command's name
        return pool.get_connection("BLMOVE")


def _session(connection: Any) -> int | None:
    """Read the id of the connection's session; None where it may not be asked for."""
    try:
        return int(connection.read_response())
    except redis.ResponseError:
        return None


def _unblock(client: Any, connection: Any, session: int | None) -> None:
    """
    Have the server end the wait of a session: its reply can be read then.

    It is asked again while nothing comes: the command that waits may reach the server after this one.

    Raises:
        StopRequested: It can't be had, or another server answers behind a proxy: the wait is left as RQ does it.
    """
    give_up_at = time.monotonic() + _UNBLOCKED_IN_S
    with suppress(redis.RedisError):
        while session is not None and time.monotonic() < give_up_at:
            client.client_unblock(session)
            if connection.can_read(_LOOK_S):
                return
    raise StopRequested
