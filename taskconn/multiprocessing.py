"""
multiprocessing and concurrent.futures: an initializer that opens eagerly and closes politely. It may be left out.

Without it connections open when first used, and close when a child ends by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ._process import getpid
from ._registry import process_registry
from ._warmup import warm_up
from .config import Databases
from .errors import ConfigurationError

__all__ = ["initializer"]

log = logging.getLogger("taskconn")


def initializer(databases: Mapping[str, Any] | Databases | None = None, *, warm: bool | Iterable[str] = True) -> None:
    """
    Prepare a child: ``Pool(4, initializer=taskconn.multiprocessing.initializer, initargs=(DATABASES,))``.

    It raises nothing, for `multiprocessing.Pool` would start children without end: malformed settings are logged, and
    each lease raises what is wrong with them. A server that is down is logged too.

    Connections are closed as the child ends by itself: `Pool.close` and `Pool.join`, an executor's shutdown, the end of
    a `Process`. `Pool.terminate`, and so ``with Pool(...)``, kills children by SIGTERM, which is not caught: a child
    that waits for the queue's lock would never run the handler, and its parent would wait for it without end.

    Args:
        databases: Alias -> settings, as for `taskconn.configure`; a spawned child gets them pickled. None leaves the
            settings to `configure` in a module that the child imports, or to the environment.
        warm: Open one connection of each alias now (True), of the named ones, or none beyond those with the option
            ``warm`` (False).
    """
    if databases is not None:
        _configure(databases)
    if warm is True:
        warm_up(process_registry, process_registry.aliases())
    else:
        warm_up(process_registry, warm or None)


def _configure(databases: Any) -> None:
    """Take over *databases*; where they are malformed, every lease of their aliases raises what is wrong."""
    try:
        process_registry.configure(databases)
    except ConfigurationError as error:
        log.error("process %d has no connections: %s", getpid(), error)  # noqa: TRY400 -- the message says it all
        refusal = error

        def refuse() -> NoReturn:
            raise refusal

        aliases = list(databases) if isinstance(databases, Mapping | Databases) else ["default"]
        process_registry.configure({alias: {"url": refuse} for alias in aliases})
