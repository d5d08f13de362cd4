"""A small cut of `make guard-compat`: the guard says nothing of what task systems open for themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from examples.servers import RedisServer
from tests.guard import stock
from tests.support.process import Script

#: Names of the rows that this cut runs.
_CELERY = "celery, redis, beat embedded"
_RQ = "rq, pool of 2, scheduler"


def _row(rows: list[stock.Stock], name: str) -> stock.Stock:
    return next(row for row in rows if row.name == name)


@pytest.mark.parametrize("way", stock.WAYS)
def test_guard_is_silent_over_celery(script: Callable[..., Script], redis_server: RedisServer, way: str) -> None:
    """Celery's broker, result back end and beat, with children that are replaced: not one report."""
    url = redis_server.url(6)

    output = _row(list(stock.celery_rows(url, {"redis": url})), _CELERY).run(script, way)

    assert stock.sayings(output) == []


@pytest.mark.parametrize("way", stock.WAYS)
def test_guard_is_silent_over_rq(script: Callable[..., Script], redis_server: RedisServer, way: str) -> None:
    """RQ's pool, its workers, their scheduler and their horses: not one report."""
    output = _row(list(stock.rq_rows(redis_server.url(7))), _RQ).run(script, way)

    assert stock.sayings(output) == []


def test_guard_is_silent_over_gunicorn(script: Callable[..., Script]) -> None:
    """Gunicorn's sockets, which its workers inherit by design: not one report."""
    pytest.importorskip("gunicorn")

    output = next(stock.gunicorn_rows()).run(script, "run")

    assert stock.sayings(output) == []
