"""What an app's settings say of databases, in any spelling, and what is laid over it: values that show no password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..config import Databases
from ..errors import ConfigurationError

__all__ = ["SETTING", "Unreadable", "hide", "spellings"]

#: Setting of an app; with a namespace it is written ``CELERY_TASKCONN_DATABASES``.
SETTING = "taskconn_databases"


class Unreadable:
    """Stand in an app's settings for what can't be read: whoever prints them must not print it."""

    def __init__(self, error: ConfigurationError) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"<{type(self.error).__name__}>"


def hide(conf: Any) -> Databases | Unreadable | None:
    """
    Put values that show no password where `celery report`, `inspect conf` and error reporters look.

    The user's own module, dict or Django settings are left as they are: what is laid over them is seen first.

    Returns:
        The settings; None if there are none.
    """
    hidden: Databases | Unreadable | None = None
    for key in spellings(conf):
        for mapping in conf.maps:
            try:
                value = mapping[key]
            except KeyError:
                continue
            if value is not None:
                safe = _safe(value)
                hidden = hidden or safe
                if safe is not value:
                    conf.changes[key] = safe
                break
    if hidden is not None:
        conf.changes[SETTING] = hidden
    return hidden


def spellings(conf: Any, name: str = SETTING) -> Iterator[str]:
    """List the spellings of a setting's *name*; the last is what RQ reads from a shared module."""
    if conf.prefix:
        yield (conf.prefix + name).upper()
        yield conf.prefix + name
    yield name
    yield name.upper()


def _safe(value: Any) -> Databases | Unreadable:
    if isinstance(value, Databases | Unreadable):
        return value
    try:
        return Databases(value)
    except ConfigurationError as error:
        return Unreadable(error)
