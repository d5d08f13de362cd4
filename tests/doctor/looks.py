"""What the tests of `taskconn doctor` ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskconn.doctor._application import Request
from taskconn.doctor._examine import examine
from taskconn.doctor._findings import Finding

Write = Callable[[Mapping[str, str]], None]

#: Longest wait for one look, in seconds.
PATIENCE_S = 100.0

APP = """
from celery import Celery

app = Celery("shop")
"""


def look(request: Request) -> list[Finding]:
    """List what is found in one application."""
    return examine(request, PATIENCE_S)[0]


def look_at_celery(**fleet: int) -> list[Finding]:
    """List what is found in the module ``shop`` with the Celery app, for a fleet of that size."""
    return look(Request("celery", "shop", **fleet))  # type: ignore[arg-type]  # numbers alone


def only(findings: list[Finding], code: str) -> Finding:
    """Give the one finding of that code."""
    (found,) = [finding for finding in findings if finding.rule.code == code]
    return found
