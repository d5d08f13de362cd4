"""Whether a connection is encrypted, and whether its server was verified: from the client's objects, unasked."""

from __future__ import annotations

import gc
import ssl
import types
from collections import deque
from typing import Any

from ..driver import Driver

__all__ = ["encryption"]

#: A search in a client's objects ends when it has seen so many.
_MOST_OBJECTS = 2000

#: What leads out of a connection.
_ENDS = (type, types.ModuleType, types.FunctionType, types.FrameType, types.CodeType, str, bytes, int, float)

#: What PostgreSQL's library calls the checks that it makes.
_LIBPQ = {"verify-full": "certificate and name verified", "verify-ca": "certificate verified, but not its name"}


def encryption(driver: Driver[Any], connection: Any) -> str:
    """
    Say how *connection* is encrypted, and what was verified; "none" if it is not; "" if its client does not tell.
    """
    descriptors = set(driver.sockets(connection))
    if not descriptors:
        return ""
    for thing in _inside(connection):
        if isinstance(thing, ssl.SSLSocket) and thing.fileno() in descriptors:
            return f"{thing.version()}, {_verified(thing.context)}"
        if type(thing).__module__ in {"socket", "_socket"} and thing.fileno() in descriptors:
            return "none"
        info = _libpq(thing)
        if info is not None:
            return _of_libpq(info)
    return ""


def _verified(context: ssl.SSLContext) -> str:
    if context.verify_mode != ssl.CERT_REQUIRED:
        return "not verified"
    return "certificate and name verified" if context.check_hostname else "certificate verified, but not its name"


def _libpq(thing: Any) -> Any:
    """Give the information of a connection of psycopg or psycopg2, which use PostgreSQL's library; else None."""
    modules = {str(base.__module__).partition(".")[0] for base in type(thing).__mro__[:-1]}
    return getattr(thing, "info", None) if modules & {"psycopg", "psycopg2"} and hasattr(thing, "cursor") else None


def _of_libpq(info: Any) -> str:
    parameters = getattr(info, "dsn_parameters", None)
    if parameters is None:
        pgconn = info._pgconn if hasattr(info, "_pgconn") else info.pgconn  # noqa: SLF001 -- psycopg 3 has no public name
        is_in_use, protocol = pgconn.ssl_in_use, "TLS"
        parameters = info.get_parameters()
    else:
        is_in_use, protocol = info.ssl_in_use, info.ssl_attribute("protocol") or "TLS"
    if not is_in_use:
        return "none"
    return f"{protocol}, {_LIBPQ.get(parameters.get('sslmode', ''), 'not verified')}"


def _inside(connection: Any) -> Any:
    queue, seen = deque([connection]), set[int]()
    while queue and len(seen) < _MOST_OBJECTS:
        thing = queue.popleft()
        if id(thing) in seen or thing is None or isinstance(thing, _ENDS):
            continue
        seen.add(id(thing))
        yield thing
        queue.extend(gc.get_referents(thing))
