"""
The rows of the matrix: those of the contract suite, every library below SQLAlchemy, and clients by `connect=`.

The rows that are here alone share their driver with others; the short matrix has a few cells of each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.drivers.rows import ROWS as CONTRACT_ROWS
from tests.drivers.rows import Row
from tests.support.lazy import Lazy, found, named

T = TypeVar("T")

#: Libraries below SQLAlchemy that the contract suite does not have there.
_BELOW = ("mysqlconnector", "mysqldb", "psycopg", "psycopg2")


def _over(library: str) -> Callable[[], Row]:
    return lambda: found("tests.matrix.added.sqlalchemy:over")(CONTRACT_ROWS[library])


_ADDED = {
    **{f"sqlalchemy+{library}": _over(library) for library in _BELOW if library in CONTRACT_ROWS},
    "sqlalchemy+sqlite": named("tests.matrix.added.sqlalchemy:SQLite"),
    "connect=pymysql": named("tests.matrix.added.connect_pymysql:Bare"),
    "connect=psycopg": named("tests.matrix.added.connect_psycopg:Bare"),
}

#: Name to row.
ROWS: Lazy[Row] = Lazy({**CONTRACT_ROWS.makers, **_ADDED})

IS_FULL = os.environ.get("MATRIX") == "full"


def pick(row: Row, cells: Sequence[T]) -> Sequence[T]:
    """Choose from *cells* of the short matrix: all for rows of the contract suite, one for each of the others."""
    return cells if IS_FULL or row.name not in _ADDED else cells[list(_ADDED).index(row.name) % len(cells) :][:1]
