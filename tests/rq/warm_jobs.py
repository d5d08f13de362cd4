"""Jobs that tell in which process they ran, and jobs that leave something there."""

from __future__ import annotations

import contextvars
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from rq import Retry, get_current_job

#: Attempts of `exit_silently` and its like are counted by the queue's Redis, not here: processes come and go.
context_variable: contextvars.ContextVar[str] = contextvars.ContextVar("context_variable", default="clean")

_kept: list[Any] = []


def pid() -> int:
    """Tell the process."""
    return os.getpid()


def note_run() -> None:
    """Count this run in the queue's Redis."""
    job = get_current_job()
    assert job is not None
    job.connection.rpush("runs", job.id)


def count_objects() -> int:
    """Count the objects that the garbage collector knows, when it has collected what it can."""
    gc.collect()
    return len(gc.get_objects())


def parent() -> int:
    """Tell the process's parent."""
    return os.getppid()


def fail() -> None:
    """Fail."""
    raise ValueError("as asked")


def sleep_in_python(seconds: float) -> int:
    """Wait, so that alarms strike meanwhile."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(left)
    return os.getpid()


def ask_for_another_try(seconds: float) -> Retry:
    """Take some time, and ask to be run again, which is granted once."""
    time.sleep(seconds)
    return Retry(max=1)


def swallow_the_limit() -> int:
    """Run into the time limit, and return all the same."""
    try:
        sleep_in_python(30)
    except Exception:  # noqa: BLE001 -- the point
        return os.getpid()
    return 0


def wait() -> None:
    """Wait for whatever signal comes."""
    print(f"waiting {os.getpid()}", flush=True)
    while True:
        signal.pause()


def wait_until_told(key: str) -> int:
    """Wait until *key* is in Redis."""
    print(f"waiting {os.getpid()}", flush=True)
    job = get_current_job()
    assert job is not None
    job.connection.blpop([key], 60)
    return os.getpid()


def exit_silently() -> None:
    """End the process as if all were well."""
    os._exit(0)


def crash() -> None:
    """End the process as a broken extension does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    signal.pause()


def crash_beside_a_child() -> None:
    """Crash while a child, in a group of its own, lives on with all that this process has open."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # nobody else will end it
        signal.pause()
        os._exit(0)
    crash()


def change_folder() -> int:
    """Leave another current folder."""
    os.chdir("/")
    return os.getpid()


def change_umask() -> int:
    """Leave another umask."""
    os.umask(0o077)
    return os.getpid()


def change_handler() -> int:
    """Leave another handler."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    return os.getpid()


def change_environ() -> int:
    """Leave a variable."""
    os.environ["LEFT"] = "over"
    return os.getpid()


def leave_thread() -> int:
    """Leave a thread."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


def leave_child() -> int:
    """Leave a child, which ends by itself when its parent has gone."""
    _kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
    return os.getpid()


def leave_files() -> int:
    """Leave most of the descriptors that a process may have open."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    _kept.extend(os.dup(2) for _ in range(100))
    return os.getpid()


def leave_memory() -> int:
    """Leave 64 MiB."""
    _kept.append(bytearray(b"x") * (64 << 20))
    return os.getpid()


def note_context() -> tuple[str, str, float, str]:
    """Tell what an earlier job may have left in the context, and set it."""
    found = context_variable.get()
    context_variable.set("left over")
    job = get_current_job()
    assert job is not None
    return found, os.environ["RQ_JOB_ID"], random.random(), job.id


def print_word(word: str) -> None:
    """Print as to a file: it stays in the buffer."""
    sys.stdout.write(word)
