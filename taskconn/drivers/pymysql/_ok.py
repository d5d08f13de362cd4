"""The server's short answer to what returns no rows, read in one look: PyMySQL makes two objects and 15 calls of it."""

from __future__ import annotations

from typing import Any

from pymysql.constants import SERVER_STATUS

__all__ = ["read_ok"]

#: Head of the packet and least of its contents: length, number; OK, rows, id, status, warnings.
_SHORTEST = 11

#: First byte of a number that does not fit into one -> how many follow.
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}


def read_ok(connection: Any, result: Any) -> bool:
    """
    Read an OK packet, as it comes for INSERT, UPDATE and the like, into *result*, a `MySQLResult`.

    Returns:
        False if the reply is another one, is not here as a whole, or has failed to come: nothing of it is taken then,
        and PyMySQL will find the same.

    Raises:
        BaseException: An interrupt.
    """
    sock, file = connection._sock, connection._rfile  # noqa: SLF001 -- of the class that calls this
    if sock is None or sock.gettimeout() != connection._read_timeout:  # noqa: SLF001 -- as above
        return False  # PyMySQL is about to change it
    try:
        reply = file.peek()  # waits for the first bytes, if there are none
    except OSError:
        return False
    size, number = len(reply), connection._next_seq_id  # noqa: SLF001 -- as above
    if size < _SHORTEST or reply[:5] != bytes((size - 4 & 0xFF, size - 4 >> 8, 0, number, 0)) or reply[5] in _WIDTHS:
        return False
    at, insert_id = 7, reply[6]
    if width := _WIDTHS.get(insert_id):
        at += width
        insert_id = int.from_bytes(reply[7:at], "little")
    status = int.from_bytes(reply[at : at + 2], "little")
    if size < at + 4 or status & SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS:
        return False
    file.read(size)
    connection._next_seq_id = (number + 1) % 256  # noqa: SLF001 -- as above
    result.affected_rows, result.insert_id, result.server_status = reply[5], insert_id, status
    result.warning_count, result.message, result.has_next = (
        int.from_bytes(reply[at + 2 : at + 4], "little"),
        reply[at + 4 :],
        0,
    )
    return True
