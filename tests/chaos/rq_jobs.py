"""The jobs of the chaos suite under RQ, and the settings of its workers."""

from __future__ import annotations

import os
from typing import Any

from taskconn import with_db
from tests.chaos.by_hand import transfer_by_hand
from tests.chaos.work import transfer

__all__ = ["transfer_by_hand", "with_taskconn"]

REDIS_URL = os.environ.get("CHAOS_REDIS")


@with_db(once=lambda transfer_id, *_: transfer_id)
def with_taskconn(db: Any, transfer_id: str, source: int, target: int, amount: int) -> str:
    """Do one transfer."""
    return transfer(db, transfer_id, source, target, amount)
