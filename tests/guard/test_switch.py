"""Who turns the guard on, and whose word counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskconn import _guard, _process
from taskconn._guard import _origins
from taskconn._guard._modes import Guard, the_guard
from taskconn.errors import GuardSettingError

pytestmark = pytest.mark.portable


@pytest.fixture(autouse=True)
def _guard_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave this process as it was: without a guard."""
    monkeypatch.setattr(_guard._Said, "by_code", False)
    monkeypatch.setattr(_process.me, "guard", None)
    yield
    the_guard.set("off")
    the_guard.when_refused = None


def test_worker_warns_if_nobody_says_otherwise() -> None:
    """In a worker the guard is on, in mode `warn`."""
    _guard.start_worker()

    assert (the_guard.mode, _process.me.guard) == ("warn", the_guard)


def test_settings_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the task system's settings say counts, and the environment where they say nothing."""
    monkeypatch.setenv(_guard.MODE, "fence")
    monkeypatch.setenv(_guard.ALLOW, "db:3306, shop/db.py,")

    _guard.start_worker("raise", ["cache:6379"])
    assert (the_guard.mode, the_guard.allowed) == ("raise", ("cache:6379",))

    _guard.start_worker()
    assert (the_guard.mode, the_guard.allowed) == ("fence", ("db:3306", "shop/db.py"))


def test_code_wins_over_settings() -> None:
    """What code has said is not undone by settings that are read later."""
    _guard.guard("off")

    _guard.start_worker("raise")

    assert the_guard.mode == "off"


def test_unknown_mode_is_refused_and_changes_nothing() -> None:
    """A misspelt mode is an error that lists the modes."""
    _guard.start_worker("fence")

    with pytest.raises(GuardSettingError, match="Write one of: off, warn, raise, fence"):
        _guard.guard("fense")  # type: ignore[arg-type]  # the mistake

    assert the_guard.mode == "fence"


def test_only_mode_raise_listens_to_forks() -> None:
    """The audit event of a fork is handled where it may refuse one, and nowhere else."""
    for mode, is_listening in (("warn", False), ("raise", True), ("fence", False), ("off", False)):
        Guard().set(mode)  # type: ignore[arg-type]  # a word of a table
        assert ("os.fork" in _origins._handlers) is is_listening


@pytest.mark.parametrize(
    ("arguments", "is_worker"),
    [
        (["/venv/bin/celery", "-A", "shop", "worker"], True),
        (["/venv/lib/site-packages/celery/__main__.py", "-A", "shop", "worker"], True),
        (["/venv/bin/rq", "worker-pool", "high"], True),
        (["/venv/lib/site-packages/rq/cli/__main__.py", "worker"], True),
        (["/venv/bin/celery", "-A", "shop", "beat"], False),
        (["/venv/bin/gunicorn", "shop:worker"], False),
        (["manage.py", "worker"], False),
        ([], False),
    ],
    ids=["celery", "celery-module", "rq-pool", "rq-module", "beat", "gunicorn", "manage", "none"],
)
def test_worker_is_known_by_its_command_line(arguments: list[str], *, is_worker: bool) -> None:
    """The commands that start workers note from the import of taskconn on where connections are opened."""
    assert _guard._is_worker(arguments) is is_worker
