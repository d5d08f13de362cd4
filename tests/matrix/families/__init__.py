"""What a driver connects to: how it is reached, what a task may leave behind there, how a session is ended."""

from __future__ import annotations

from collections.abc import Mapping

from tests.matrix.families.family import DATABASE, TRANSPORTS, Family, Leftover
from tests.matrix.families.mysql import MySQL
from tests.matrix.families.postgresql import PostgreSQLFamily
from tests.matrix.families.redis import RedisFamily
from tests.matrix.families.sqlite import SQLiteFamily

__all__ = ["DATABASE", "FAMILIES", "TRANSPORTS", "Family", "Leftover"]

#: Name to family.
FAMILIES: Mapping[str, type[Family]] = {
    family.name: family for family in (MySQL, PostgreSQLFamily, RedisFamily, SQLiteFamily)
}
