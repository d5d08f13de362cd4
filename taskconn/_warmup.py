"""Warm-up: open connections before a task needs them, within a bound; what fails is logged, and said by the lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from . import _process
from ._context import is_interrupt
from ._registry import Registry

__all__ = ["warm_up"]

log = logging.getLogger("taskconn")

#: No further alias is opened early after so many seconds: a task waits.
_BUDGET_S = 10.0


def warm_up(registry: Registry, aliases: Iterable[str] | None = None, *, within_s: float = _BUDGET_S) -> None:
    """
    Open one connection of each alias that has none in this process.

    Args:
        registry: Where the aliases are looked up.
        aliases: Which ones; None is those with ``warm=True``.
        within_s: No further one is begun after so many seconds; each takes `connect_timeout` at the most.

    Raises:
        BaseException: An interrupt only.
    """
    ends_at = time.monotonic() + within_s
    for alias in registry.aliases() if aliases is None else aliases:
        try:
            pool = registry.pool(alias)
            if aliases is None and not pool.options.warm:
                continue
            if time.monotonic() >= ends_at:
                log.warning("connection %r: no time to open it early in process %d", alias, _process.getpid())
                continue
            pool.warm()
        except Exception as error:
            if is_interrupt(error):
                raise
            log.warning("connection %r: opening it early in process %d failed: %s", alias, _process.getpid(), error)
