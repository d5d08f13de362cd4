"""A warm horse, in its own process: it takes one job after the other until it is told to go, or had better."""

from __future__ import annotations

import contextvars
import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from rq.job import Job

from .. import _leftovers
from .._context import is_interrupt
from .._process import getpid
from . import _assignment, _horse
from ._channel import HorseEnd
from ._recycling import Limits, Outcome, Recycling
from ._thrift import ThriftyMixin

__all__ = ["flush", "live"]


def live(worker: ThriftyMixin, channel: HorseEnd, limits: Limits) -> NoReturn:
    """
    Be a horse, in the child that *worker* has just forked, and end the process.

    It ends with 0, even when nobody listens any more, and with 1, as RQ's horses, if the outcome of a job could not be
    stored.
    """
    exit_status = 1
    try:
        os.setpgrp()
        channel.keep()
        if WarmHorse(worker, channel, limits).work():
            exit_status = 0
    except BaseException:
        worker.log.exception("Worker %s: work horse %d ends", worker.name, getpid())
    finally:
        _horse.say_goodbye(exit_status)
        flush()
        os._exit(exit_status)


def flush() -> None:
    """Write out what was printed: a horse leaves by ``os._exit``, and what its parent keeps back is written twice."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # None, closed, or somebody's own
            stream.flush()


class _Told(BaseException):
    """The horse was told to end while it was idle."""


class WarmHorse:
    """
    Run jobs for a worker, of which this process has a copy.

    Whatever a job ends with, the parent learns of it through Redis, as from any horse; the channel only says that the
    next one may come.
    """

    def __init__(self, worker: ThriftyMixin, channel: HorseEnd, limits: Limits) -> None:
        self._worker = worker
        self._channel = channel
        self._limits = limits
        self._was_interrupted = False
        worker._is_horse = True  # noqa: SLF001 -- what RQ sets in `main_work_horse`
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the worker's, if it was in the middle of a wait
        worker.setup_work_horse_signals()  # type: ignore[no-untyped-call]  # RQ is typed in part
        worker.push_exc_handler(self._note)  # type: ignore[no-untyped-call]  # as above
        self._recycling = Recycling(limits)

    def work(self) -> bool:
        """Run jobs until there is a reason to go; False if the outcome of the last one could not be stored."""
        log, name, channel = self._worker.log, self._worker.name, self._channel
        while True:
            taken = self._wait()
            if taken is None:
                return True
            number, payload = taken
            channel.progress.begun = number
            try:
                outcome = self._run(payload)
            except BaseException:
                log.exception("Worker %s: work horse %d could not store what its job ended with", name, getpid())
                return False
            channel.progress.ended = number
            reason = self._recycling.reason(outcome)
            if reason is not None:
                log.info("Worker %s: work horse %d is replaced: %s", name, getpid(), reason)
                return True
            flush()
            if not channel.report(number):
                return True

    def _run(self, payload: bytes) -> Outcome:
        """Run one job in a copy of the context, so that no context variable reaches the next one."""
        worker = self._worker
        random.seed()
        job, queue, execution = _assignment.unpack(worker, payload)
        os.environ["RQ_WORKER_ID"], os.environ["RQ_JOB_ID"] = worker.name, job.id
        worker.executions = {} if execution is None else {execution.id: execution}
        worker._executions = []  # noqa: SLF001 -- what RQ has cached of an earlier job's
        worker._stopped_job_id = None  # noqa: SLF001 -- as above
        self._was_interrupted = False
        started = time.monotonic()
        has_succeeded = contextvars.copy_context().run(worker.perform_job, job, queue, execution)  # type: ignore[arg-type]  # None from callers of `fork_work_horse` alone
        limit_s = job.timeout or worker.queue_class.DEFAULT_TIMEOUT
        is_late = 0 < limit_s <= time.monotonic() - started  # the job may have swallowed the exception
        return Outcome(has_succeeded, self._was_interrupted or is_late)

    def _note(self, job: Job, kind: type[BaseException], error: BaseException, *rest: Any) -> bool:
        """Note an interrupt; RQ goes on to its own handlers."""
        self._was_interrupted = self._was_interrupted or is_interrupt(error)
        return True

    def _wait(self) -> tuple[int, bytes] | None:
        """Wait for a job. Meanwhile connections are closed; a signal to end is obeyed at once, with a goodbye."""
        try:
            with self._listening():
                self._close_what_is_due()
                return self._channel.take()
        except _Told:
            return None

    def _close_what_is_due(self) -> None:
        """Close what is unused for its `max_idle`, and all after that of the horse, until something comes."""
        all_due_at = time.monotonic() + self._limits.max_idle if self._limits.max_idle > 0 else math.inf
        while True:
            due_in_s = _leftovers.close_overdue()
            wait_s = min(all_due_at - time.monotonic(), math.inf if due_in_s is None else due_in_s)
            if wait_s == math.inf or not self._channel.is_quiet_for(max(wait_s, 0.0)):
                return
            if time.monotonic() >= all_due_at:
                _leftovers.close_unused()
                self._worker.connection.connection_pool.disconnect()
                return

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """
        Let SIGTERM end an idle horse politely: RQ has it kill a horse, or ignored.

        A job that was taken in the same moment is not marked as begun: the worker gives it to another horse.
        """

        def tell(*_: object) -> None:
            raise _Told

        handler = signal.signal(signal.SIGTERM, tell)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)
