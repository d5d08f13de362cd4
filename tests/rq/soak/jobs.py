"""What each job of the soak does, and the note that it leaves in Redis."""

from __future__ import annotations

import os
import time
from typing import Any

from rq import get_current_job

from taskconn import with_db

BEGUN = "soak:begun"


@with_db
def work(db: Any, number: int, kind: str) -> int:
    """Note that this job has begun, write a row, and end as *kind* says."""
    job = get_current_job()
    assert job is not None
    with job.connection.pipeline() as pipeline:
        pipeline.rpush(f"soak:{number}", os.getpid())
        pipeline.incr(BEGUN)
        pipeline.execute()
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO done (number) VALUES (%s)", (number,))
        if kind == "sleeps":
            time.sleep(0.02)
        elif kind == "times out in a statement":
            cursor.execute("SELECT SLEEP(30)")
        elif kind == "times out":
            time.sleep(30)
    if kind == "fails":
        raise ValueError(number)
    return number
