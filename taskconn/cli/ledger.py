"""Make, show or prune the table in which `@with_db(once=True)` remembers what tasks have done."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .._registry import Handle, Registry
from . import _target

__all__ = ["add_arguments", "run"]

R = TypeVar("R")

#: Seconds by the letter that stands for a unit.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions, and what each takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _action(actions, "create", "make the table, unless it is there")
    _action(actions, "show-ddl", "print the statements that make it, for migrations; asks no server")
    prune = _action(actions, "prune", "delete old entries, a batch at a time")
    prune.add_argument(
        "--older-than",
        type=_age,
        required=True,
        metavar="AGE",
        help="such as 90s, 30m, 12h, 7d, 2w; longer than a message can wait to be delivered again",
    )
    prune.add_argument("--batch", type=_positive, default=1000, metavar="N", help="entries per transaction (1000)")


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says, and tell it in one line."""
    from .. import _ledger  # noqa: PLC0415 -- what is heavy is imported by the command that runs

    alias, registry = arguments.alias, _target.choose(arguments).registry
    pool = registry.pool(alias)
    driver = pool.driver
    if arguments.action == "show-ddl":
        if not driver.dialect:
            driver.validate(pool.target())  # SQLAlchemy's knows then
        print(*_ledger.statements(driver.dialect, alias), sep=";\n\n", end=";\n")
    elif arguments.action == "create":
        _in_transaction(registry, alias, lambda connection: _ledger.create(driver, connection, alias))
        print(f"The table {_ledger.TABLE} is there, in the database of {alias!r}.")
    else:
        before, deleted, last = time.time() - arguments.older_than, 0, arguments.batch
        while last >= arguments.batch:
            last = _in_transaction(
                registry, alias, lambda found: _ledger.prune(driver, found, alias, before, arguments.batch)
            )
            deleted += last
        print(f"{deleted} entries deleted from {_ledger.TABLE}, in the database of {alias!r}.")
    return 0


def _in_transaction(registry: Registry, alias: str, do: Callable[[Any], R]) -> R:
    """Call *do* with the driver's connection, in a transaction of its own: no lock is held for longer."""
    from .._lease import Lease  # noqa: PLC0415 -- what is heavy is imported by the command that runs

    lease: Lease[Any] = Lease(Handle(alias, registry), "taskconn ledger")
    with lease:
        pool = registry.pool(alias)
        connection = lease._pooled.connection  # type: ignore[union-attr]  # noqa: SLF001 -- below what a task gets
        done = do(connection)
        if pool.options.transaction == "none":
            pool.driver.commit(connection, pool.options.settle_timeout)
    return done


def _action(actions: Any, name: str, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=words, description=words)
    parser.add_argument("--alias", default="default", help="connection that has, or gets, the table (default)")
    _target.add_arguments(parser)
    return parser


def _age(text: str) -> int:
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write 90s, 30m, 12h, 7d or 2w")
    return int(match[1]) * _UNITS[match[2]]


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)
