"""Settings module of the tests' workers; what it does beyond is asked for by TEST_ variables."""

from __future__ import annotations

import atexit
import os

import taskconn
from tests.rq import jobs

REDIS_URL = os.environ["TEST_REDIS_URL"]
TASKCONN_DATABASES = {
    "default": {
        "url": os.environ["TEST_DATABASE_URL"],
        "warm": bool(os.environ.get("TEST_WARM")),
        "deadline": bool(os.environ.get("TEST_DEADLINE")),
    },
    "other": os.environ["TEST_DATABASE_URL"],
}

if os.environ.get("TEST_TAKE_AT_IMPORT"):
    # The worker takes its settings over later: whoever connects at import says how.
    taskconn.configure(TASKCONN_DATABASES)
    jobs.note(jobs.conn, "taken")
    jobs.conn.commit()
    pid = os.getpid()
    held = taskconn.lease("other")
    db = held.__enter__()
    jobs.note(db, "held")

    @atexit.register
    def end() -> None:
        """Go on with what was held across every fork; in the process that took it."""
        if os.getpid() == pid:
            jobs.note(db, "held")
            held.__exit__(None, None, None)
