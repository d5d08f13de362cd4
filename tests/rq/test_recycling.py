"""When a warm horse is replaced, and the settings that say so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import taskconn.rq
from taskconn.errors import WorkerSettingError
from taskconn.rq._recycling import Limits
from tests.rq.conftest import Workplace, write_module

#: Reason -> job that gives it, and what the log says.
_TRACES = {
    "failure": ("fail", "its job failed"),
    "threads": ("leave_thread", "after its job 1 threads are left"),
    "children": ("leave_child", "after its job a child process is left"),
    "cwd": ("change_folder", "after its job the current folder is another"),
    "umask": ("change_umask", "after its job the umask is another"),
    "signals": ("change_handler", "after its job a signal's handler is another"),
    "environ": ("change_environ", "after its job the environment is another"),
}


def test_horse_is_replaced_after_a_job_that_leaves_something(workplace: Workplace) -> None:
    """What one job has changed of its process no later job sees; each time the log says why."""
    befores, afters = [], []
    for function, _ in _TRACES.values():
        befores.append(workplace.enqueue_warm("pid"))
        workplace.enqueue_warm(function)
        afters.append(workplace.enqueue_warm("pid"))

    every = ",".join(_TRACES)
    worker = workplace.worker("WarmWorker", "--disable-job-desc-logging", TASKCONN_WARM_RECYCLE_ON=every)
    output = worker.succeed()

    assert re.findall(r"is replaced: (.*)", output) == [words for _, words in _TRACES.values()]
    for before, after in zip(befores, afters, strict=True):
        assert before.return_value() != after.return_value()


def test_what_is_not_named_replaces_no_horse(workplace: Workplace) -> None:
    """The reasons can be chosen: an application whose jobs fail all the time may keep its horse."""
    for function, _ in _TRACES.values():
        workplace.enqueue_warm(function)
    jobs = [workplace.enqueue_warm("pid") for _ in range(2)]

    output = workplace.worker("WarmWorker", TASKCONN_WARM_RECYCLE_ON="timeout").succeed()

    assert "is replaced" not in output
    assert len({job.return_value() for job in jobs}) == 1


@pytest.mark.parametrize("function", ["sleep_in_python", "swallow_the_limit"], ids=["failed", "swallowed"])
def test_horse_is_replaced_after_a_time_limit(workplace: Workplace, function: str) -> None:
    """A limit may have struck in the middle of some client's reply, also if the job has swallowed the exception."""
    arguments = (30,) if function == "sleep_in_python" else ()
    workplace.enqueue_warm(function, *arguments, job_timeout=1)
    workplace.enqueue_warm("pid")

    output = workplace.worker("WarmWorker", TASKCONN_WARM_RECYCLE_ON="timeout").succeed()

    assert re.findall(r"is replaced: (.*)", output) == ["its job was interrupted"]


@pytest.mark.parametrize(
    ("function", "settings", "message"),
    [
        ("pid", {"MAX_JOBS": "1"}, "it has run 1 jobs"),
        ("leave_memory", {"MAX_GROWTH": "32"}, r"its memory has grown by [56]\d MiB"),
        ("leave_memory", {"MAX_RSS": "64"}, r"it uses \d+ MiB of memory"),
        ("leave_files", {}, "it has most of its descriptors open"),
        ("sleep_in_python", {"MAX_AGE": "1"}, "it is 1 seconds old"),
    ],
    ids=["jobs", "growth", "memory", "descriptors", "age"],
)
def test_horse_that_has_lived_long_enough_is_replaced(
    workplace: Workplace, function: str, settings: dict[str, str], message: str
) -> None:
    """Jobs, seconds, memory and open files are limited; a limit is looked at after each job."""
    workplace.enqueue_warm("pid")
    workplace.enqueue_warm(function, *((1.1,) if function == "sleep_in_python" else ()))
    workplace.enqueue_warm("pid")

    environ = {f"TASKCONN_WARM_{name}": value for name, value in settings.items()}
    output = workplace.worker("WarmWorker", **environ).succeed()

    assert re.search(f"is replaced: {message}", output), output


def test_settings_module_wins_over_environment_and_class(workplace: Workplace, tmp_path: Path) -> None:
    """As for databases: the module of ``-c`` first, then the environment, then what the class says."""
    source = "from tests.rq.settings import *\nTASKCONN_WARM_MAX_JOBS = 3\n"
    environ = write_module(tmp_path, "mine", source) | {"TASKCONN_WARM_MAX_JOBS": "4"}

    def replaced(config: str, **environ: str) -> list[str]:
        for _ in range(5):
            workplace.enqueue_warm("pid")
        worker = workplace.worker("tests.rq.workers.TwoJobs", config=config, **environ)
        return re.findall(r"is replaced: (.*)", worker.succeed())

    assert replaced("mine", **environ) == ["it has run 3 jobs"]
    assert replaced("tests.rq.settings", **environ) == ["it has run 4 jobs"]
    assert replaced("tests.rq.settings") == ["it has run 2 jobs"] * 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "MAX_JOBS",
            "many",
            r"MAX_JOBS of the environment can't be used: 'many' is no whole number(.|\n)*0 is no limit",
        ),
        ("MAX_AGE", "-1", r"'-1' is no whole number"),
        (
            "RECYCLE_ON",
            "failure,fork",
            r"'fork' is no reason to replace a horse(.|\n)*There are: failure, timeout, cwd",
        ),
        (
            "MAX_JOB",
            "3",
            r"TASKCONN_WARM_MAX_JOB can't be used: nobody knows it(.|\n)*There are: .*TASKCONN_WARM_MAX_JOBS",
        ),
    ],
    ids=["no number", "negative", "unknown reason", "unknown name"],
)
def test_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    """The message names the setting, where it was found, and what there is."""
    monkeypatch.setenv(f"TASKCONN_WARM_{name}", value)

    with pytest.raises(WorkerSettingError, match=message):
        Limits.of(taskconn.rq.WarmWorker)


def test_worker_does_not_start_with_a_wrong_setting(workplace: Workplace) -> None:
    """It says so without a traceback, and no horse ever runs."""
    worker = workplace.worker("WarmWorker", burst=False, TASKCONN_WARM_MAX_JOBS="many")

    assert worker.wait() == 1
    assert "this worker can't start" in worker.output
    assert "TASKCONN_WARM_MAX_JOBS of the environment can't be used: 'many'" in worker.output
    assert "Traceback" not in worker.output


def test_settings_are_numbers_and_names_of_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    """In code they may be what Python has for it; 0 and None are no limit, and "none" no reason at all."""

    class Mine(taskconn.rq.WarmWorker):
        warm_max_jobs = None
        warm_recycle_on = ("failure", "cwd")

    assert Limits.of(Mine) == Limits(max_jobs=0, recycle_on=frozenset({"failure", "cwd"}))
    monkeypatch.setenv("TASKCONN_WARM_RECYCLE_ON", "none")
    monkeypatch.setenv("TASKCONN_WARM_URL", "mysql://the-alias-that-is-called-warm")
    assert Limits.of(Mine).recycle_on == frozenset()
