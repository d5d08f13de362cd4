"""Whatever dies, every transfer is done exactly once; `make chaos` shows it for more seeds, systems and minutes."""

from __future__ import annotations

import pytest

from tests.chaos.run import FEW_DESCRIPTORS, run

#: A run may take as long as the worst of its faults need.
pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize(
    ("system", "server", "seed"),
    [("celery prefork", "mysql", 1), ("rq WarmWorker", "postgresql", 2)],
    ids=["celery prefork over MariaDB", "rq WarmWorker over PostgreSQL"],
)
def test_every_transfer_is_done_exactly_once(system: str, server: str, seed: int) -> None:
    """Servers, networks, workers and clocks fail; no effect is lost or doubled, and no attempt fails without a name."""
    verdict = run(system, server, seed, number=60, faults_s=1)

    assert (verdict.lost, verdict.doubled, verdict.wrong) == ([], [], []), verdict
    assert verdict.sum_is_right, verdict
    assert verdict.left == 0, verdict
    assert verdict.nameless == [], verdict
    assert len(verdict.faults) >= 12, verdict
    assert verdict.descriptors < FEW_DESCRIPTORS, verdict


@pytest.mark.parametrize("by_hand", [False, True], ids=["taskconn", "by hand"])
def test_child_killed_after_its_commit(by_hand: bool) -> None:
    """The task is delivered again: with `once` its effect is there once, with a connection by hand twice."""
    verdict = run("celery prefork", "mysql", 3, number=4, faults_s=0, by_hand=by_hand, dies="3-2")

    assert verdict.lost == []
    assert verdict.doubled == (["3-2"] if by_hand else [])
    assert verdict.is_sound is not by_hand
