"""Limits that strike a task, as task systems throw them."""

from __future__ import annotations

from typing import NoReturn


class SoftTimeLimitExceeded(Exception):  # noqa: N818 -- as Celery's is called
    """The limit."""


class Unheard(Exception):  # noqa: N818 -- as above
    """Python itself has swallowed the limit: it struck in a destructor, or in the callback of a weak reference."""


def strike(*_: object) -> NoReturn:
    """Raise the limit, as the handler of a signal."""
    raise SoftTimeLimitExceeded
