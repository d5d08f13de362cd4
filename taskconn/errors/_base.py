"""The base of all exceptions: fields, message, link."""

from __future__ import annotations

from typing import ClassVar


class TaskconnError(Exception):
    """
    Say that taskconn refused something, or could not do it.

    Every message has three sentences: what happened, why that is a problem, what to do. Every field is an
    attribute and goes to ``args``, as a string or an integer, so that the error survives pickle and Celery's
    JSON result back end.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _message: ClassVar[str] = "taskconn refused something, or could not do it; a more exact class says what."

    def __init__(self, *fields: str | int) -> None:
        if len(fields) != len(self._fields):
            raise TypeError(f"{type(self).__name__} takes {len(self._fields)} fields {self._fields}, got {len(fields)}")
        super().__init__(*fields)
        for name, value in zip(self._fields, fields, strict=True):
            setattr(self, name, value)

    def __str__(self) -> str:
        named = dict(zip(self._fields, self.args, strict=True))
        return f"{self._message.format(**named)}\nSee docs/errors.md#{type(self).__name__.lower()}"
