"""What a ``with`` block of a lease calls at its end: `Exit`. An interrupt may strike before its first line."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Exit"]


class Exit:
    """
    Be the ``__exit__`` of a lease, whose call never holds the lease.

    A signal is heard as a function of Python is entered, before any ``try`` in it. The exception keeps the function's
    frame, and with it an argument ``self``: the lease would stay open for as long as somebody keeps the exception, and
    later leases of the task would join it, to be committed by nobody. So what the block keeps holds the lease, and
    what it calls is given a weak reference. Torn out of here, the block holds nothing, and the lease is nobody's: see
    `UnitOfWork.root`.
    """

    __slots__ = ()

    def __get__(self, lease: Any, kind: type[Any]) -> Callable[..., None]:
        """Give what the block of *lease* keeps; of the class, what a `contextlib.ExitStack` binds by itself."""
        if lease is None:
            return self
        ending = functools.partial(_end, weakref.ref(lease))
        ending.__dict__["lease"] = lease
        return ending

    def __call__(self, lease: Any, *raised: Any) -> None:
        """End *lease* for an `ExitStack`, which keeps it whatever strikes."""
        _end(weakref.ref(lease), *raised)


def _end(find: Callable[[], Any], _: object, exception: BaseException | None, __: object) -> None:
    try:
        if exception is None:
            find().succeed()
        else:
            find().fail(exception)
    except BaseException as interrupt:
        lease = find()
        if lease.is_open:
            lease.fail(interrupt)
        raise
