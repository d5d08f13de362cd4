"""Savepoints of a connection or its ORM session: SQLAlchemy's nested transactions, by the names that taskconn gives."""

from __future__ import annotations

import contextlib

from ._connection import Connection
from ._limits import unmasked

__all__ = ["begin", "release", "rollback_to"]


@unmasked
def begin(connection: Connection, name: str) -> None:
    """Begin one of the session's if the lease has one, which flushes it; else of the connection's."""
    given = connection.expose()
    nested = given.begin_nested()
    if given is not connection:
        given.connection()  # a session sets its savepoint only when it needs the connection
    connection.savepoints[name] = nested, connection.get_nested_transaction()


@unmasked
def release(connection: Connection, name: str) -> None:
    """
    End one, and keep what was done in it.

    Raises:
        SQLAlchemyError: As SQLAlchemy does. It has not ended, and can be rolled back.
    """
    if name in connection.savepoints:
        nested, _ = connection.savepoints[name]
        nested.commit()
        del connection.savepoints[name]


@unmasked
def rollback_to(connection: Connection, name: str) -> None:
    """
    End one, and undo what was done in it.

    Raises:
        SQLAlchemyError, or the DBAPI's: The server knows it no more.
    """
    nested, of_connection = connection.savepoints.pop(name)
    try:
        if not of_connection.is_active:  # its release was refused, after which SQLAlchemy sends nothing more
            with contextlib.closing(connection.connection.cursor()) as cursor:
                cursor.execute(f"ROLLBACK TO SAVEPOINT {of_connection._savepoint}")  # noqa: SLF001 -- told nowhere else
    finally:
        if nested.is_active:
            nested.rollback()
        else:
            nested.close()
        of_connection.close()
