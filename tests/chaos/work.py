"""What the tasks of the chaos suite do: move money between accounts, once for each transfer."""

from __future__ import annotations

import os
import random
from typing import Any, NamedTuple

__all__ = ["ACCOUNTS", "BALANCE", "SCHEMA", "WIDER", "Transfer", "transfer", "transfers"]

#: Number of accounts, and what each has at first. Few accounts, so that transfers wait for each other.
ACCOUNTS = 8
BALANCE = 10_000

#: Statements that make the tables, for MySQL and PostgreSQL. No key on `transfer`: a second row proves a second effect.
SCHEMA = (
    "CREATE TABLE account (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL)",
    "CREATE TABLE transfer (id VARCHAR(40) NOT NULL, pid INTEGER NOT NULL)",
    *(f"INSERT INTO account VALUES ({number}, {BALANCE})" for number in range(ACCOUNTS)),
)

#: Has a few rows of PostgreSQL's need a new page of the disk. With MariaDB every commit does, for its binary log.
WIDER = f"ALTER TABLE transfer ADD COLUMN note VARCHAR(1900) DEFAULT '{'-' * 1900}'"

#: One execution in so many asks the server to sleep for longer than its soft limit.
_SLOW_ONE_IN = 40


class Transfer(NamedTuple):
    """Move *amount* from one account to another; *id* is the task's."""

    id: str
    source: int
    target: int
    amount: int


def transfers(seed: int, number: int) -> list[Transfer]:
    """Draw *number* transfers."""
    rng = random.Random(seed)
    drawn = []
    for n in range(number):
        source, target = rng.sample(range(ACCOUNTS), 2)
        drawn.append(Transfer(f"{seed}-{n}", source, target, rng.randint(1, 50)))
    return drawn


def transfer(db: Any, transfer_id: str, source: int, target: int, amount: int) -> str:
    """Write the transfer and change both balances, in statements that take their time."""
    cursor = db.cursor()
    cursor.execute("INSERT INTO transfer (id, pid) VALUES (%s, %s)", (transfer_id, os.getpid()))
    for account in sorted(
        (source, target)
    ):  # in one order, so that transfers wait for each other, and never in a circle
        cursor.execute("SELECT balance FROM account WHERE id = %s FOR UPDATE", (account,))
        cursor.fetchone()
    if os.environ["CHAOS_SLEEP"] and not random.randrange(_SLOW_ONE_IN):
        cursor.execute(os.environ["CHAOS_SLEEP"])
        cursor.fetchone()
    cursor.execute("UPDATE account SET balance = balance - %s WHERE id = %s", (amount, source))
    cursor.execute("UPDATE account SET balance = balance + %s WHERE id = %s", (amount, target))
    cursor.close()
    return transfer_id
