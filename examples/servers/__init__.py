"""
Private servers for the demo and the tests: own folder, own port, own socket; stopped by id, nothing left.

Each kind of server has its file; what they share is in ``_process.py`` and ``_programs.py``. No pytest is needed.
"""

from ._process import PrivateServer
from ._programs import ServerMissingError, die_with_parent
from .mariadb import MariaDB, MySQLServer, Session
from .postgresql import Backend, PgBouncer, PostgreSQL, PostgreSQLServer
from .redis import Redis, RedisServer

__all__ = [
    "Backend",
    "MariaDB",
    "MySQLServer",
    "PgBouncer",
    "PostgreSQL",
    "PostgreSQLServer",
    "PrivateServer",
    "Redis",
    "RedisServer",
    "ServerMissingError",
    "Session",
    "die_with_parent",
]
