"""Which driver answers to which scheme: a table of data; each driver's file is imported when a connection needs it."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..driver import Driver
from ..errors import DriverNotInstalledError, InvalidSettingsError, UnknownSchemeError

__all__ = ["TABLE", "DriverRow", "load", "schemes"]

#: Entry points of other packages: the name is the scheme, the value ``package.module:Class``.
ENTRY_POINT_GROUP = "taskconn.drivers"


@dataclass(frozen=True)
class DriverRow:
    """
    Say where the driver of a scheme is found.

    Attributes:
        module: Module of the driver.
        attribute: Name of its `Driver` class there.
        package: Package on PyPI that it needs; "" if none.
        extra: Extra of taskconn that installs the package; "" if none.
        told_at: Where the package says its version, ``module:attribute``; "" if it is another package's driver.
        least: Oldest version of it that the extra admits.
        takes_any: Does it answer to ``scheme+anything`` too?
    """

    module: str
    attribute: str
    package: str = ""
    extra: str = ""
    told_at: str = ""
    least: str = ""
    takes_any: bool = False


_PSYCOPG = DriverRow("taskconn.drivers.psycopg", "Psycopg", "psycopg", "postgresql", "psycopg:__version__", "3.2.1")
_PSYCOPG2 = DriverRow("taskconn.drivers.psycopg2", "Psycopg2", "psycopg2", "psycopg2", "psycopg2:__version__", "2.9.5")
_MYSQLCONNECTOR = DriverRow(
    "taskconn.drivers.mysqlconnector",
    "MySQLConnector",
    "mysql-connector-python",
    "mysqlconnector",
    "mysql.connector:__version__",
    "8.4",
)
_MYSQLDB = DriverRow(
    "taskconn.drivers.mysqldb", "MySQLdb", "mysqlclient", "mysqlclient", "MySQLdb.release:__version__", "2.2"
)
_PYMYSQL = DriverRow("taskconn.drivers.pymysql", "PyMySQL", "PyMySQL", "mysql", "pymysql:VERSION_STRING", "1.1")
_REDIS = DriverRow("taskconn.drivers.redis", "Redis", "redis", "redis", "redis:__version__", "5.1")
_SQLALCHEMY = DriverRow(
    "taskconn.drivers.sqlalchemy",
    "SQLAlchemy",
    "SQLAlchemy",
    "sqlalchemy",
    "sqlalchemy:__version__",
    "2.0.22",
    takes_any=True,
)
_SQLITE = DriverRow("taskconn.drivers.sqlite", "SQLite")

#: Scheme to driver. A new driver is one file in this folder and its rows here.
TABLE: Mapping[str, DriverRow] = {
    "connect": DriverRow("taskconn.drivers.callables", "Callables"),
    "mysql": _PYMYSQL,
    "mysql+mysqlconnector": _MYSQLCONNECTOR,
    "mysql+mysqldb": _MYSQLDB,
    "mysql+pymysql": _PYMYSQL,
    "postgres": _PSYCOPG,
    "postgresql": _PSYCOPG,
    "postgresql+psycopg": _PSYCOPG,
    "postgresql+psycopg2": _PSYCOPG2,
    "redis": _REDIS,
    "rediss": _REDIS,
    "sqlalchemy": _SQLALCHEMY,
    "sqlite": _SQLITE,
    "unix": _REDIS,
}

#: Names that people try, and what answers to them.
_SYNONYMS: Mapping[str, str] = {
    "file": "sqlite",
    "mariadb": "mysql",
    "mysqlclient": "mysql+mysqldb",
    "mysqlconnector": "mysql+mysqlconnector",
    "mysqldb": "mysql+mysqldb",
    "pgsql": "postgresql",
    "psql": "postgresql",
    "psycopg": "postgresql+psycopg",
    "psycopg2": "postgresql+psycopg2",
    "psycopg3": "postgresql+psycopg",
    "pymysql": "mysql+pymysql",
    "redis+socket": "unix",
    "redis+unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}


def schemes() -> list[str]:
    """List every scheme that has a driver: those of the table and of other packages' entry points, sorted."""
    return sorted({*TABLE, *_foreign_rows()})


def load(scheme: str, alias: str) -> type[Driver[Any]]:
    """
    Import the driver that answers to *scheme*.

    Args:
        scheme: Scheme of the URL, in lower case.
        alias: Name of the connection, for messages.

    Raises:
        UnknownSchemeError: No driver does.
        DriverNotInstalledError: The package that the driver needs is missing, or too old.
        InvalidSettingsError: Another package's driver can't be imported, or is none.
    """
    row = TABLE.get(scheme)
    if row is None:
        general = TABLE.get(scheme.partition("+")[0])
        row = general if general is not None and general.takes_any else None
    if row is not None:
        return _import_own(row, scheme, alias)
    foreign = _foreign_rows()
    if scheme in foreign:
        return _import_foreign(foreign[scheme], scheme, alias)
    known = schemes()
    raise UnknownSchemeError(alias, scheme, ", ".join(known), _nearest(scheme, known))


def _import_own(row: DriverRow, scheme: str, alias: str) -> type[Driver[Any]]:
    try:
        module = importlib.import_module(row.module)
    except ImportError as error:
        # What a broken file of ours says must not be hidden behind "please install".
        if not row.package or (error.name or "").partition(".")[0] == "taskconn":
            raise
        raise DriverNotInstalledError(alias, scheme, row.package, row.extra, _reason(row, error)) from error
    if row.told_at:
        library, _, name = row.told_at.partition(":")
        installed = str(getattr(sys.modules.get(library), name, row.least))
        if _numbers(installed) < _numbers(row.least):
            reason = f"version {installed} is too old: {row.least} is the oldest that it works with"
            raise DriverNotInstalledError(alias, scheme, row.package, row.extra, reason)
    driver: type[Driver[Any]] = getattr(module, row.attribute)
    return driver


def _numbers(version: str) -> list[int]:
    """Read a version for comparison; what follows its numbers (``2.0.0b1``, ``2.9.9 (dt dec pq3)``) does not count."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(number) for number in found[0].split(".")] if found is not None else []


def _import_foreign(row: DriverRow, scheme: str, alias: str) -> type[Driver[Any]]:
    name = f"{row.module}:{row.attribute}"
    try:
        found = getattr(importlib.import_module(row.module), row.attribute)
    except (ImportError, AttributeError) as error:
        problem = (
            f"the driver for {scheme}:// URLs, {name!r} of the package {row.package!r}, can't be imported ({error})"
        )
        raise InvalidSettingsError(
            alias, problem, f"Install what {row.package!r} needs, or another version of it."
        ) from error
    if isinstance(found, type) and issubclass(found, Driver):
        return found
    problem = f"{name!r}, which the package {row.package!r} offers for {scheme}:// URLs, is no taskconn.driver.Driver"
    raise InvalidSettingsError(alias, problem, f"Install another version of {row.package!r}, or use another scheme.")


def _foreign_rows() -> dict[str, DriverRow]:
    """Look for drivers in the entry points of installed packages."""
    from importlib.metadata import entry_points  # noqa: PLC0415 -- 10 ms that only an unknown scheme has to pay

    rows = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist is not None else ""
        rows[point.name.lower()] = DriverRow(point.module, point.attr, package)
    return rows


def _reason(row: DriverRow, error: ImportError) -> str:
    """Tell a package that is missing from one that lacks what the driver imports from it."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 -- as above

    try:
        return f"version {version(row.package)} is too old or broken: {error}"
    except PackageNotFoundError:
        return f"it is not installed: {error}"


def _nearest(scheme: str, known: list[str]) -> str:
    matches = [match for match in [_SYNONYMS.get(scheme)] if match in known]
    matches += difflib.get_close_matches(scheme, known, n=1)
    if matches:
        return f"Did you mean {matches[0]!r}?"
    return f"Write one of them, or install a package with a driver for it (entry point group {ENTRY_POINT_GROUP!r})."
