"""How a statement is ended at the server: by a request that names its session and proves that it is ours."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
from psycopg import generators, pq

from ._waiting import drive

__all__ = ["make_canceller"]


def make_canceller(pgconn: pq.abc.PGconn) -> Callable[[float], None]:
    """
    Make what ends the statement that *pgconn* waits for; it can be called when that is closed.

    The server knows the session by a secret of the handshake: no other one can be hit. Since libpq 17 the request goes
    over TLS where the connection did, and can be bounded.

    Raises:
        psycopg.Error: The connection is closed.
    """
    if psycopg.capabilities.has_cancel_safe():
        request = pgconn.cancel_conn()

        def ask(timeout_s: float) -> None:
            request.start()
            drive(generators.cancel(request), time.monotonic() + timeout_s)

        return ask
    older = pgconn.get_cancel()
    return lambda _: older.cancel()
