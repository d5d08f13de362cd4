"""What is found: rules with a code each, and findings, which are a rule at a place."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["DOCS", "RULES", "Finding", "Rule", "Severity"]

#: Where the rules are explained, a heading for each code.
DOCS = "docs/findings.md"


class Severity(enum.IntEnum):
    """Say how bad a finding is: at an error connections cross forks; a warning is a risk; the rest is good to know."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    @property
    def word(self) -> str:
        """Its name as people write it."""
        return self.name.lower()


class Rule(NamedTuple):
    """
    Say what is wrong in general.

    Attributes:
        code: ``"TC001"``; it stays the same for ever.
        severity: How bad it is.
        title: What it is, in a few words.
        why: Why it matters, in one sentence.
        remedy: What to write instead.
    """

    code: str
    severity: Severity
    title: str
    why: str
    remedy: str

    @property
    def link(self) -> str:
        """Heading that explains it."""
        return f"{DOCS}#{self.code.lower()}"


class Finding(NamedTuple):
    """
    Say what is wrong here.

    Attributes:
        rule: What it is an instance of.
        message: What was found, without secrets.
        path: File; "" if it is about no file.
        line: Line in it, from 1; 0 if it is about no line.
        column: Column in the line, from 1.
    """

    rule: Rule
    message: str
    path: str = ""
    line: int = 0
    column: int = 1

    @property
    def place(self) -> str:
        """Where: ``shop/db.py:12``; "" if it is about no place."""
        return f"{self.path}:{self.line}" if self.line else self.path


def _rules(*rules: Rule) -> Mapping[str, Rule]:
    return {rule.code: rule for rule in rules}


#: Code -> rule.
RULES = _rules(
    Rule(
        "TC001",
        Severity.ERROR,
        "connection opened at import",
        "Every worker process that is forked after the import shares its socket, and reads the others' replies.",
        "Open it in the task, by `@with_db` or `with taskconn.lease()`, or write a `taskconn.proxy()` in its place.",
    ),
    Rule(
        "TC002",
        Severity.ERROR,
        "engine used at import",
        "What an engine has opened stays in its pool, which every forked process inherits and uses.",
        "Use it in functions that run after the fork, call `engine.dispose()` after it, or use a `sqlalchemy+` alias.",
    ),
    Rule(
        "TC003",
        Severity.ERROR,
        "pool opened at import",
        "A forked process inherits its connections, which others use too, and none of the threads that serve them.",
        "Open it in the child (`open=False` here and `open()` there), or let an alias of taskconn be the pool.",
    ),
    Rule(
        "TC004",
        Severity.ERROR,
        "engine disposed in a child without close=False",
        "Plain `dispose()` says goodbye over the parent's sessions: the parent and its other children lose theirs.",
        "Write `engine.dispose(close=False)`.",
    ),
    Rule(
        "TC005",
        Severity.WARNING,
        "connection kept on a task class",
        "One access in the worker's own process, and every child inherits it; nobody checks, settles or closes it.",
        "Write `@with_db` under `@app.task`, and take the connection as a parameter.",
    ),
    Rule(
        "TC006",
        Severity.ERROR,
        "with_db above the task decorator",
        "The task system gets the function without its connection, and every task fails for a missing argument.",
        "Write `@app.task` first and `@with_db` under it.",
    ),
    Rule(
        "TC007",
        Severity.ERROR,
        "connection opened in the worker's own process",
        "The signal is sent before the children are forked, and each of them inherits what its handler has opened.",
        "Use `worker_process_init`, which each child gets, or `@with_db`.",
    ),
    Rule(
        "TC101",
        Severity.ERROR,
        "connection open at the fork",
        "Every worker process inherits its socket, and reads the others' replies.",
        "Open it in the task, by `@with_db` or `with taskconn.lease()`, or write a `taskconn.proxy()` in its place.",
    ),
    Rule(
        "TC102",
        Severity.ERROR,
        "task holds a connection of the parent's",
        "It was opened before the fork, and the tasks of all children talk through it at once.",
        "Take the connection as a parameter, by `@with_db`, in place of the variable.",
    ),
    Rule(
        "TC103",
        Severity.WARNING,
        "thread alive at the fork",
        "A child has none of its parent's threads: what they serve stands still, and locks that they held stay held.",
        "Start it in the child: in `worker_process_init`, or when a task first needs it.",
    ),
    Rule(
        "TC104",
        Severity.INFO,
        "pool made before the fork",
        "Every child has a pool of its own by these settings, and inherits what is in it at the fork.",
        "Keep it unused until the fork; `pool_pre_ping` and `pool_recycle` keep out what the server has closed.",
    ),
    Rule(
        "TC105",
        Severity.ERROR,
        "alias can't be reached",
        "Tasks that lease it will fail.",
        "See that the server is up, and that its URL and password are right; `taskconn check` asks again.",
    ),
    Rule(
        "TC106",
        Severity.WARNING,
        "fleet needs more connections than the server admits",
        'When all workers are busy the server refuses some of them: "Too many connections".',
        "Lower the concurrency or `max_size`, raise the server's `max_connections`, or put a pooler in front of it.",
    ),
    Rule(
        "TC107",
        Severity.WARNING,
        "time limit that a driver does not hear",
        "The client waits in C, where Python hears no signal: the limit is raised when the statement has ended.",
        "Give the alias `deadline=True`.",
    ),
    Rule(
        "TC108",
        Severity.WARNING,
        "settings of redelivery are incomplete",
        "A task whose child is killed is lost, or is done twice.",
        "Set `acks_late=True` and `reject_on_worker_lost=True` together, and `@with_db(once=True)` under them.",
    ),
    Rule(
        "TC109",
        Severity.WARNING,
        "include of the configuration is dropped",
        "What `Celery(include=...)` says replaces the configuration's list, so that the worker lacks those tasks.",
        "Name modules in one of the two places, or in `imports`, which both keep.",
    ),
    Rule(
        "TC110",
        Severity.INFO,
        "TLS context for every connection",
        "PyMySQL reads all of the system's certificates at each connect (27 ms), even if the server has no TLS.",
        "Use a `mysql+pymysql://` alias, which keeps one context, or pass `ssl=` a context that you keep.",
    ),
)
