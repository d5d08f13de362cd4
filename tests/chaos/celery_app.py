"""The Celery application of the chaos suite; the environment says where everything is."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery

from taskconn import with_db
from tests.chaos.by_hand import transfer_by_hand
from tests.chaos.work import transfer

app = Celery("chaos", changes=json.loads(os.environ["CHAOS_CELERY"]))


def _dies_once(function: Callable[..., str]) -> Callable[..., str]:
    """Kill this process after the one execution that a file asks for: it has committed, and not said so to anybody."""

    @functools.wraps(function)
    def call(transfer_id: str, *args: int) -> str:
        result = function(transfer_id, *args)
        order = Path(os.environ["CHAOS_FOLDER"], f"die-{transfer_id}")
        if order.exists():
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


@app.task(name="transfer")
@_dies_once
@with_db(once=lambda transfer_id, *_: transfer_id)
def with_taskconn(db: Any, transfer_id: str, source: int, target: int, amount: int) -> str:
    """Do one transfer."""
    return transfer(db, transfer_id, source, target, amount)


app.task(name="transfer_by_hand")(_dies_once(transfer_by_hand))
