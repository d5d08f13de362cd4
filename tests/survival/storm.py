"""A fleet: many processes with a connection each, which lose their server together. Run by `test_storm.py`."""

from __future__ import annotations

import os
import sys
import time

import taskconn
from taskconn.errors import ConnectionFailedError


def main(number: int, url: str) -> None:
    """Fork *number* processes, each of which leases at once and then until it is back; print when each was."""
    import taskconn.drivers.pymysql  # once, before the forks

    taskconn.configure({"default": url})
    for _ in range(number):
        if os.fork() == 0:
            live()
            os._exit(0)
    for _ in range(number):
        os.wait()


def live() -> None:
    """Lease, and again after the loss, as a worker that is busy would."""
    with taskconn.lease() as db:
        db.cursor().execute("SELECT 1")
    os.write(1, b"up\n")
    while True:
        try:
            with taskconn.lease() as db:
                db.cursor().execute("SELECT 1")
        except ConnectionFailedError:
            os.write(1, b"down\n")
            break
        except Exception:  # noqa: BLE001 -- the first statement after the loss
            continue
        time.sleep(0.05)
    while True:
        try:
            with taskconn.lease() as db:
                db.cursor().execute("SELECT 1")
        except ConnectionFailedError:
            time.sleep(0.02)
            continue
        os.write(1, b"back %f\n" % time.monotonic())
        return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
