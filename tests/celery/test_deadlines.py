"""A soft limit is heard in the middle of a statement, by a real worker and by clients that wait in C."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.databases import MySQLDatabase

#: By client: the fixture of its server, a statement of four seconds, and the server's own limit in seconds.
_SERVERS = {
    "mysql+mysqldb": ("mysql_database", "SELECT SLEEP(4)", "SELECT @@max_statement_time"),
    "mysql+pymysql": ("mysql_database", "SELECT SLEEP(4)", "SELECT @@max_statement_time"),
    "postgresql+psycopg2": (
        "postgresql_database",
        "SELECT 1 FROM pg_sleep(4)",
        "SELECT setting::int / 1000.0 FROM pg_settings WHERE name = 'statement_timeout'",
    ),
}


def _settings(scheme: str, request: pytest.FixtureRequest, **options: Any) -> dict[str, Any]:
    if "mysqldb" in scheme:
        pytest.importorskip("MySQLdb")
    url: str = request.getfixturevalue(_SERVERS[scheme][0]).url
    return {"default": {"url": f"{scheme}://{url.partition('://')[2]}", **options}}


@pytest.mark.parametrize("scheme", _SERVERS)
def test_soft_limit_is_heard_before_half_of_the_query(
    scheme: str, start_worker: Any, mysql_database: MySQLDatabase, request: pytest.FixtureRequest
) -> None:
    """The task sees SoftTimeLimitExceeded, 0.5 s into a query of 4 s; the next lease knows nothing of the limit."""
    _, query, limit = _SERVERS[scheme]
    worker = start_worker(mysql_database, "-c", "1", databases=_settings(scheme, request, deadline=True))
    assert worker.run("ask", limit) == "succeeded"  # it is connected now
    assert float(worker.said("answer")) == 0

    assert worker.run("ask", query, soft_time_limit=0.5) == "raised"
    error, after_s = worker.said("ended-by").split()
    assert error == "SoftTimeLimitExceeded"
    assert 0.3 < float(after_s) < 2

    assert worker.run("ask", limit) == "succeeded"
    assert float(worker.said("answer", count=2)) == 0
    assert worker.run("ask", limit, soft_time_limit=50) == "succeeded"
    assert 40 < float(worker.said("answer", count=3)) <= 50.1
    assert worker.run("ask", limit) == "succeeded"
    assert float(worker.said("answer", count=4)) == 0


def test_without_a_deadline_psycopg2_hears_its_limit_when_the_query_ends(
    start_worker: Any, mysql_database: MySQLDatabase, request: pytest.FixtureRequest
) -> None:
    """It waits in C: what `deadline=True` is for."""
    _, query, limit = _SERVERS["postgresql+psycopg2"]
    worker = start_worker(mysql_database, "-c", "1", databases=_settings("postgresql+psycopg2", request))
    assert worker.run("ask", limit) == "succeeded"

    worker.run("ask", query, soft_time_limit=0.5)

    assert float(worker.said("ended-by").split()[1]) > 3.5
