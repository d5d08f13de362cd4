"""What a driver connects to: how it is reached, what a task may leave behind there, how a session is ended."""

from __future__ import annotations

import functools

from tests.matrix.families.family import DATABASE, TRANSPORTS, Family, Leftover
from tests.support.lazy import Lazy, found

__all__ = ["DATABASE", "FAMILIES", "TRANSPORTS", "Family", "Leftover"]

_CLASSES = {"mysql": "MySQL", "postgresql": "PostgreSQLFamily", "redis": "RedisFamily", "sqlite": "SQLiteFamily"}

#: Name to family.
FAMILIES: Lazy[type[Family]] = Lazy(
    {name: functools.partial(found, f"tests.matrix.families.{name}:{kind}") for name, kind in _CLASSES.items()}
)
