"""Tasks that are sent when the transaction that they are about has been committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import EncodeError

import taskconn
from taskconn.celery import apply_async_on_commit, delay_on_commit
from tests.support.databases import MySQLDatabase


@pytest.fixture(scope="module")
def worker(start_shared_worker: Callable[..., Any], database: MySQLDatabase) -> Any:
    """Give a prefork worker with two children, so that a message may be taken before its sender has ended."""
    return start_shared_worker(database, "-c", "2")


@pytest.fixture
def sent(app: Celery, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Give what the app has published: task, arguments, id."""
    published: list[tuple[Any, ...]] = []

    def send_task(name: str, args: Any, kwargs: Any, task_id: str, **options: Any) -> None:
        published.append((name, args, kwargs, task_id, options.get("queue")))

    monkeypatch.setattr(app, "send_task", send_task)
    return published


@pytest.fixture
def mail(app: Celery) -> Any:
    """Give a task."""

    @app.task(name="shop.mail")
    @taskconn.with_db
    def mail(db: Any, to: str, *, urgent: bool = False) -> None: ...

    return mail


def test_task_is_sent_after_the_commit(worker: Any) -> None:
    """The task finds what its sender has written, and has the id that the sender was given before."""
    assert worker.run("put_and_send", 1) == "succeeded"
    task_id = worker.script.wait_for(r"SAY will-send 1 (\S+)$")[1]

    assert worker.outcome(task_id) == "succeeded"
    assert worker.script.wait_for(r"SAY told 1 (.+)$")[1] == f"1 {task_id}"


def test_task_of_a_failed_sender_is_never_sent(worker: Any) -> None:
    """A task that is rolled back sends nothing: a later sender's message is the next one that arrives."""
    assert worker.run("put_and_send", 2, True) == "raised"
    assert worker.run("put_and_send", 3) == "succeeded"
    task_id = worker.script.wait_for(r"SAY will-send 2 (\S+)$")[1]

    worker.script.wait_for(r"SAY told 3 1 ")

    assert "SAY told 2" not in worker.script.output
    assert f"[{task_id}]" not in worker.script.output


def test_task_succeeds_although_a_callback_fails(worker: Any) -> None:
    """A callback that raises is named in the log; the row stays, the next callback runs, and the task has succeeded."""
    assert worker.run("put_and_call", 4) == "succeeded"

    assert worker.script.wait_for(r"after_commit: divide failed")
    assert worker.script.wait_for(r"ZeroDivisionError")
    first, last = (worker.script.output.index(f"SAY {word} 4") for word in ("first", "last"))
    assert first < worker.script.output.index("after_commit: divide failed") < last
    assert [visit[0] for visit in worker.visits() if visit[0] == 4] == [4]


def test_id_is_known_before(app: Celery, mail: Any, sent: list[Any]) -> None:
    """The result is there at once, and the message, with its id and options, when the lease has committed."""
    with taskconn.lease(taskconn.Handle("default", taskconn.celery.install(app))) as db:
        db.execute("INSERT")
        result = apply_async_on_commit(mail, ("a",), {"urgent": True}, queue="fast")
        assert sent == []
        assert not app.driver.opened[0].committed  # type: ignore[attr-defined]  # put there by the fixture

    assert sent == [("shop.mail", ("a",), {"urgent": True}, result.id, "fast")]


def test_id_may_be_given(mail: Any, sent: list[Any]) -> None:
    """Outside of leases the task is sent at once, with the id that the caller wants."""
    result = apply_async_on_commit(mail, ["a"], task_id="mail-1")

    assert (result.id, sent) == ("mail-1", [("shop.mail", ("a",), {}, "mail-1", None)])


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "match"),
    [
        ((), {}, TypeError, "missing 1 required positional argument: 'to'"),
        (("a", "b"), {}, TypeError, "takes 1 positional argument"),
        (("a",), {"db": 1}, TypeError, "unexpected keyword argument 'db'"),
        ((object(),), {}, EncodeError, "not JSON serializable"),
    ],
    ids=["too-few", "too-many", "injected", "not-serializable"],
)
def test_arguments_are_checked_at_once(
    app: Celery, mail: Any, sent: list[Any], args: Any, kwargs: Any, error: type[Exception], match: str
) -> None:
    """What Celery would refuse after the commit, when it is too late, is refused before."""
    handle = taskconn.Handle("default", taskconn.celery.install(app))

    with pytest.raises(error, match=match), taskconn.lease(handle):
        delay_on_commit(mail, *args, **kwargs)

    assert sent == []


def test_broker_that_is_gone_is_logged(
    app: Celery, mail: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that can't be sent after the commit is logged with the task's name and id; the commit stands."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no broker")

    monkeypatch.setattr(app, "send_task", refuse)

    with taskconn.lease(taskconn.Handle("default", taskconn.celery.install(app))) as db:
        db.execute("INSERT")
        result = delay_on_commit(mail, "a")

    assert app.driver.opened[0].committed == ["INSERT"]  # type: ignore[attr-defined]  # put there by the fixture
    assert f"sending shop.mail as {result.id} failed" in caplog.text
