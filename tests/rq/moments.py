"""
Strike a worker, or its warm horse, at each line of Python that it runs after a job, and look what becomes of the jobs.

``python -m tests.rq.moments taskconn.rq.WarmWorker redis://127.0.0.1:6379/1 --step 97``; every line with ``--step 1``.
A worker is asked to stop, by SIGTERM; a horse (``--horse``) is killed. The database is emptied before each.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Any

import redis
from rq import Queue
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.worker import WorkerStatus

#: A worker that has not ended after so many seconds does not stop.
_PATIENCE_S = 10.0

#: So many moments that no worker has come to end the search: how many lines there are depends on what else is to do.
_BEYOND = 3


class _Moment:
    """Have a signal sent to this process at its Nth line from `begin` on."""

    def __init__(self, number: int, signal_number: int) -> None:
        self._left = number
        self._signal = signal_number
        self._pid = 0

    def begin(self) -> None:
        self._pid = os.getpid()
        self._trace_all(sys._getframe(1), self._trace)
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if os.getpid() != self._pid:  # a child
            sys.settrace(None)
            return None
        self._left -= event == "line"
        if self._left == 0:
            sys.settrace(None)
            self._trace_all(frame, None)
            os.write(1, f"struck {frame.f_code.co_name}:{frame.f_lineno}\n".encode())
            os.kill(self._pid, self._signal)
        return self._trace

    def _trace_all(self, frame: FrameType | None, function: Any) -> None:
        while frame is not None:
            frame.f_trace = function
            frame = frame.f_back


@dataclass(frozen=True)
class Strike:
    """
    Hold what is struck.

    Attributes:
        worker: Dotted name of a worker's class.
        url: Of a Redis database that is emptied.
        jobs: How many are queued; a worker is struck after the second one, a horse after its first.
        queues: Those that the worker listens to; the jobs are in the first.
        is_horse: A warm horse is killed, of a worker in burst mode; else its worker is asked to stop.
    """

    worker: str
    url: str
    jobs: int
    queues: list[str]
    is_horse: bool

    def at(self, number: int) -> tuple[bool, dict[str, Any]]:
        """Strike at the Nth line; return whether anybody got there, and what went wrong, if anything did."""
        with redis.Redis.from_url(self.url) as client, tempfile.TemporaryFile("w+") as log:
            client.flushdb()
            queue = Queue(self.queues[0], connection=client)
            jobs = [queue.enqueue("tests.rq.warm_jobs.note_run") for _ in range(self.jobs)]
            client.connection_pool.disconnect()
            pid = os.fork()
            if pid == 0:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                os._exit(self._work(number))
            code, is_asked = self._wait(pid, queue, client, log)
            log.seek(0)
            output = log.read()
            faults = self._faults(code, output, jobs, queue)
        place = output.partition("struck ")[2].partition("\n")[0]
        return bool(place) and not is_asked, {
            "line": number,
            "place": place,
            "faults": faults,
            "output": output,
        } if faults else {}

    def _work(self, number: int) -> int:
        """Be the worker; return the exit code."""
        module, _, name = self.worker.rpartition(".")
        moment = _Moment(number, signal.SIGKILL if self.is_horse else signal.SIGTERM)
        is_horse = self.is_horse

        class Struck(getattr(importlib.import_module(module), name)):  # type: ignore[misc]  # whichever it is
            jobs_begun = jobs_ended = 0

            def set_state(self, state: str, *args: Any, **kwargs: Any) -> None:
                self.jobs_begun += state == WorkerStatus.BUSY
                if not is_horse and self.jobs_begun == 2 and state == WorkerStatus.IDLE:
                    self.jobs_begun += 1
                    moment.begin()
                super().set_state(state, *args, **kwargs)

            def perform_job(self, *args: Any, **kwargs: Any) -> bool:
                has_succeeded: bool = super().perform_job(*args, **kwargs)
                self.jobs_ended += 1
                if is_horse and self.jobs_ended == 1 and moment._pid == 0:
                    moment.begin()
                return has_succeeded

        try:
            client = redis.Redis.from_url(self.url)
            Struck([Queue(queue, connection=client) for queue in self.queues], connection=client).work(burst=is_horse)
        except BaseException:  # noqa: BLE001 -- told, as the command line does
            traceback.print_exc()
            return 1
        finally:
            sys.settrace(None)
        return 0

    def _wait(self, pid: int, queue: Queue, client: redis.Redis, log: Any) -> tuple[int | None, bool]:
        """
        Wait for the worker's end. One that waits for a job has passed all its lines, and is asked to stop.

        Returns:
            Its exit code, None if it does not end, and whether it was asked.
        """
        until, is_asked = time.monotonic() + _PATIENCE_S, False
        while time.monotonic() < until:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status), is_asked
            if not is_asked and is_waiting(client) and not queue.count:
                log.seek(0)
                if "struck " not in log.read():
                    is_asked = True
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None, is_asked

    def _faults(self, code: int | None, output: str, jobs: list[Job], queue: Queue) -> list[str]:
        found = [] if code == 0 else ["does not stop" if code is None else f"ended with {code}"]
        found += [word for word in ("Traceback", "unhandled") if word in output]
        done = queue.connection.lrange("runs", 0, -1)
        states = [str(job.get_status()).rpartition(".")[2].lower() for job in jobs]
        for job, state in zip(jobs, states, strict=True):
            runs = done.count(job.id.encode())
            if (state, runs) not in {("finished", 1), ("queued", 0), ("failed", 0), ("failed", 1)}:
                found.append(f"a job is {state} after {runs} runs")
        if states.count("failed") > self.is_horse:
            found.append(f"jobs are {states}")
        if queue.count != states.count("queued") or (self.is_horse and queue.count):
            found.append(f"{queue.count} jobs in the queue, of {states}")
        if queue.intermediate_queue.get_job_ids() or StartedJobRegistry(queue=queue).get_job_ids(cleanup=False):
            found.append("a job is left begun")
        return found


def is_waiting(client: redis.Redis) -> bool:
    """Tell whether somebody waits for a job in the database of *client*."""
    own = str(client.connection_pool.connection_kwargs.get("db", 0))
    return any("b" in session["flags"] and session["db"] == own for session in client.client_list())


def main() -> None:
    """Print what went wrong as JSON, a line for each moment, and last how many moments there were."""
    words = argparse.ArgumentParser()
    words.add_argument("worker")
    words.add_argument("url")
    words.add_argument("--step", type=int, default=1)
    words.add_argument("--first", type=int, default=1)
    words.add_argument("--last", type=int, default=sys.maxsize)
    words.add_argument("--jobs", type=int, default=2)
    words.add_argument("--queues", nargs="*", default=["default"])
    words.add_argument("--horse", action="store_true")
    given = words.parse_args()
    strike = Strike(given.worker, given.url, given.jobs, given.queues, given.horse)
    number, moments, beyond = given.first, 0, 0
    while beyond < _BEYOND and number <= given.last:
        is_reached, fault = strike.at(number)
        if fault:
            print(json.dumps(fault), flush=True)
        number, moments, beyond = number + given.step, moments + is_reached, 0 if is_reached else beyond + 1
    print(json.dumps({"moments": moments}), flush=True)


if __name__ == "__main__":
    main()
