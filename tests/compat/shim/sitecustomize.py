"""
Run by every interpreter of the suite and of what it starts: a private Redis, and taskconn's workers in RQ's place.

COMPAT_REDIS_PORT: where connections to port 6379 go instead. COMPAT_SWAP: "same" puts taskconn's classes of the same
names in, "warm" those that keep their horse, where there is one.
"""

from __future__ import annotations

import os
import sys
from types import FunctionType
from typing import Any

import redis.connection


def _send_elsewhere(port: int) -> None:
    """Send connections to Redis's own port to *port*; what tests read of their settings stays as it was."""
    original = redis.connection.Connection.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if self.port == 6379:
            self.port = port

    redis.connection.Connection.__init__ = init  # type: ignore[method-assign]  # that is the point


def _swap(*, warm: bool) -> None:
    """Put taskconn's classes where RQ's are, in its modules and in the defaults of its functions."""
    import rq.cli
    import rq.worker
    import rq.worker_pool

    import taskconn.rq

    names = ("HerokuWorker", "RandomWorker", "RoundRobinWorker", "SimpleWorker", "SpawnWorker", "Worker")
    ours = {
        getattr(rq.worker, name): getattr(taskconn.rq, f"Warm{name}" if warm else name, getattr(taskconn.rq, name))
        for name in names
    }
    for module in [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "rq"]:
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and value in ours:
                setattr(module, name, ours[value])
            for function in _functions(value):
                if function.__defaults__:
                    function.__defaults__ = tuple(
                        ours.get(each, each) if isinstance(each, type) else each for each in function.__defaults__
                    )


def _functions(value: object) -> list[FunctionType]:
    found = vars(value).values() if isinstance(value, type) else [value]
    return [each for each in found if isinstance(each, FunctionType)]


if os.environ.get("COMPAT_REDIS_PORT"):
    _send_elsewhere(int(os.environ["COMPAT_REDIS_PORT"]))
if os.environ.get("COMPAT_SWAP") in {"same", "warm"}:
    _swap(warm=os.environ["COMPAT_SWAP"] == "warm")
