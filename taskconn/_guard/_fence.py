"""What a child gets for a fenced connection: a dead socket, which says who opened it when it is used."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

from ._findings import Finding

__all__ = ["prepare", "speak"]

#: Methods of a socket that would send or receive.
_METHODS = (
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "send",
    "sendall",
    "sendmsg",
    "sendto",
    "read",
    "write",
)

#: Descriptor -> what using it is answered with.
_words: dict[int, str] = {}


def _refuse(sock: Any, *_args: Any, **_named: Any) -> None:
    """Answer in place of a dead socket, so that the error that clients make of it names the line to change."""
    descriptor = sock.fileno()
    raise ConnectionAbortedError(errno.ECONNABORTED, _words.get(descriptor, "this socket is dead"))


def _fenced(stock: type[socket.socket]) -> type[socket.socket]:
    methods = {name: _refuse for name in _METHODS if hasattr(stock, name)}
    return type(f"Fenced{stock.__name__}", (stock,), {"__slots__": (), "__module__": __name__, **methods})


class _Kinds:
    """Keep the classes, made when first needed; in the parent, for a child should not work more than it must."""

    made: dict[type, type[socket.socket]] = {}  # noqa: RUF012 -- there is one of it


def prepare() -> None:
    """Make the classes that children give to their fenced sockets."""
    ssl: Any = sys.modules.get("ssl")
    for stock in (socket.socket, getattr(ssl, "SSLSocket", None)):
        if stock is not None and stock not in _Kinds.made:
            _Kinds.made[stock] = _fenced(stock)


def speak(finding: Finding) -> None:
    """
    Let the Python object of a socket that was replaced say so when it is used.

    Objects of other classes, as gevent's, and clients in C say that the connection was lost, as it is.
    """
    sock = finding.reference()
    kind = _Kinds.made.get(type(sock))
    if kind is None:
        return
    _words[finding.client.socket.fd] = (
        f"taskconn fenced the {finding.what} of another process, {finding.where}; open it in this one"
    )
    try:
        sock.__class__ = kind
    except TypeError:  # of a layout that can't be changed
        return
