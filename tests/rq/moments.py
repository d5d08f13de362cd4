"""
Stop a worker by SIGTERM at each line of Python that it runs between two jobs, and look what becomes of it.

``python -m tests.rq.moments taskconn.rq.WarmWorker redis://127.0.0.1:6379/1 --step 97``; every line with ``--step 1``.
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
from types import FrameType
from typing import Any

import redis
from rq import Queue
from rq.job import Job
from rq.worker import WorkerStatus

#: A worker that has not ended after so many seconds does not stop.
_PATIENCE_S = 10.0

#: So many moments that no worker has come to end the search: how many lines there are depends on what else is to do.
_BEYOND = 3


class _Moment:
    """Have SIGTERM sent to this process at its Nth line from now on."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._pid = os.getpid()
        self.place = ""

    def begin(self) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            frame.f_trace = self._trace
            frame = frame.f_back
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if os.getpid() != self._pid:  # a horse
            sys.settrace(None)
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                sys.settrace(None)
                self.place = f"{frame.f_code.co_name}:{frame.f_lineno}"
                each: FrameType | None = frame
                while each is not None:
                    each.f_trace = None
                    each = each.f_back
                os.kill(os.getpid(), signal.SIGTERM)
        return self._trace


def _work(class_name: str, url: str, queues: list[str], number: int) -> int:
    """Run jobs, and be stopped at a line after the second one; return the exit code."""
    module, _, name = class_name.rpartition(".")
    moment = _Moment(number)

    class Stopped(getattr(importlib.import_module(module), name)):  # type: ignore[misc]  # whichever it is
        jobs = 0

        def set_state(self, state: str, *args: Any, **kwargs: Any) -> None:
            self.jobs += state == WorkerStatus.BUSY
            if self.jobs == 2 and state == WorkerStatus.IDLE:
                self.jobs += 1
                moment.begin()
            super().set_state(state, *args, **kwargs)

    try:
        client = redis.Redis.from_url(url)
        Stopped([Queue(queue, connection=client) for queue in queues], connection=client).work()
    except BaseException:  # noqa: BLE001 -- told, as the command line does
        traceback.print_exc()
        return 1
    finally:
        sys.settrace(None)
        print(f"struck {moment.place}", flush=True)
    return 0


def is_waiting(client: redis.Redis) -> bool:
    """Tell whether somebody waits for a job in the database of *client*."""
    own = str(client.connection_pool.connection_kwargs.get("db", 0))
    return any("b" in session["flags"] and session["db"] == own for session in client.client_list())


def _faults(code: int | None, output: str, jobs: list[Job], client: redis.Redis) -> list[str]:
    states = [str(job.get_status()).rpartition(".")[2].lower() for job in jobs]
    found = [] if code == 0 else ["does not stop" if code is None else f"ended with {code}"]
    found += [word for word in ("Traceback", "unhandled") if word in output]
    found += [f"a job is {state}" for state in states if state not in ("finished", "queued")]
    waiting = client.llen("rq:queue:default")
    if waiting != states.count("queued"):
        found.append(f"{waiting} jobs in the queue, of {states}")
    return found


def stop_at(class_name: str, url: str, number: int, jobs: int, queues: list[str]) -> tuple[bool, dict[str, Any]]:
    """Stop a worker at its Nth line; return whether it got there, and what went wrong, if anything did."""
    with redis.Redis.from_url(url) as client, tempfile.TemporaryFile("w+") as log:
        client.flushdb()
        queue = Queue(connection=client)
        given = [queue.enqueue("tests.rq.warm_jobs.pid") for _ in range(jobs)]
        client.connection_pool.disconnect()
        pid = os.fork()
        if pid == 0:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os._exit(_work(class_name, url, queues, number))
        is_reached, code, until = True, None, time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                break
            if is_reached and is_waiting(client) and not queue.count:
                log.seek(0)
                if "warm shut down" not in log.read():
                    is_reached = False
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.002)
        else:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        log.seek(0)
        output = log.read()
        faults = _faults(code, output, given, client)
    place = output.rpartition("struck ")[2].strip()
    return is_reached, {"line": number, "place": place, "faults": faults, "output": output} if faults else {}


def main() -> None:
    """Print what went wrong as JSON, a line for each moment, and last how many moments there were."""
    words = argparse.ArgumentParser()
    words.add_argument("worker")
    words.add_argument("url")
    words.add_argument("--step", type=int, default=1)
    words.add_argument("--first", type=int, default=1)
    words.add_argument("--jobs", type=int, default=2)
    words.add_argument("--queues", nargs="*", default=["default"])
    given = words.parse_args()
    number, moments, beyond = given.first, 0, 0
    while beyond < _BEYOND:
        is_reached, fault = stop_at(given.worker, given.url, number, given.jobs, given.queues)
        if fault:
            print(json.dumps(fault), flush=True)
        number, moments, beyond = number + given.step, moments + is_reached, 0 if is_reached else beyond + 1
    print(json.dumps({"moments": moments}), flush=True)


if __name__ == "__main__":
    main()
