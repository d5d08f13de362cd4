"""A job's timeout is heard in the middle of a statement, by a real work horse and by clients that wait in C."""

from __future__ import annotations

import pytest
from rq.job import JobStatus

from tests.rq.conftest import Workplace

#: By client: the fixture of its server, a statement of four seconds, and the server's own limit in seconds.
_SERVERS = {
    "mysql+mysqldb": ("mysql_database", "SELECT SLEEP(4)", "SELECT @@max_statement_time"),
    "postgresql+psycopg2": (
        "postgresql_database",
        "SELECT 1 FROM pg_sleep(4)",
        "SELECT setting::int / 1000.0 FROM pg_settings WHERE name = 'statement_timeout'",
    ),
}


@pytest.mark.parametrize("scheme", _SERVERS)
@pytest.mark.parametrize("name", ["Worker", "SimpleWorker"])
def test_timeout_is_heard_before_half_of_the_query(
    workplace: Workplace, name: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    """The job sees RQ's own exception, a second into a query of four; the server knows each job's own time."""
    if "mysqldb" in scheme:
        pytest.importorskip("MySQLdb")
    fixture, query, limit = _SERVERS[scheme]
    url = f"{scheme}://{request.getfixturevalue(fixture).url.partition('://')[2]}"
    first = workplace.enqueue("ask", limit, job_timeout=-1)
    late = workplace.enqueue("ask", query, job_timeout=1)
    longer = workplace.enqueue("ask", limit, job_timeout=100)
    last = workplace.enqueue("ask", limit, job_timeout=-1)

    worker = workplace.worker(name, TEST_DATABASE_URL=url, TEST_DEADLINE="1")
    worker.succeed(120)

    assert first.return_value() == 0
    seen = worker.wait_for(r"^ENDED BY (\w+) ([\d.]+)$")
    assert seen[1] == "JobTimeoutException"
    assert float(seen[2]) < 2
    assert late.get_status() == JobStatus.FAILED
    assert "JobTimeoutException" in workplace.error_of(late).splitlines()[-1]
    assert 80 < longer.return_value() <= 100.1
    assert last.return_value() == 0
