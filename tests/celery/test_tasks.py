"""Tasks in one process, on the fake driver: how they may be written, how they end, and whose settings they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from celery import Celery, shared_task
from celery.exceptions import Ignore, Reject, Retry

import taskconn
import taskconn.celery
from taskconn import _registry, with_db
from taskconn._context import current_task
from taskconn.errors import DecorationError
from taskconn.testing import FakeConnection


class Order(pydantic.BaseModel):
    amount: int


def committed(app: Celery) -> list[str]:
    """List what was committed on the connections of *app*, in the order in which they were opened."""
    return [words for connection in app.driver.opened for words in connection.committed]


@pytest.mark.parametrize(
    "exception", [Ignore(), Reject(), Retry(), ValueError()], ids=lambda value: type(value).__name__
)
def test_exceptions_of_celery_roll_back(app: Celery, exception: Exception) -> None:
    """Whatever a task raises, Celery's own signals included, rolls back."""

    @app.task
    @with_db
    def pay(db: FakeConnection) -> None:
        db.execute("paid")
        raise exception

    pay.apply()

    assert app.driver.opened[0].calls == ["paid", "rollback"]


def test_commit_on_names_exceptions_that_commit(app: Celery) -> None:
    """`commit_on=(Ignore,)` keeps the work of a task that replaces itself."""

    @app.task
    @with_db(commit_on=(Ignore,))
    def pay(db: FakeConnection) -> None:
        db.execute("paid")
        raise Ignore

    pay.apply()

    assert committed(app) == ["paid"]


def test_tasks_lease_from_their_own_app(make_app: Callable[..., Celery]) -> None:
    """With two apps in one process each task leases from its own app, never from the one made last."""
    one, two = make_app("one"), make_app("two")

    @one.task
    @with_db
    def pay_one(db: FakeConnection) -> None:
        db.execute("one")
        pay_two.apply()

    @two.task
    @with_db
    def pay_two(db: FakeConnection) -> None:
        db.execute("two")

    pay_one.apply()

    assert (committed(one), committed(two)) == (["one"], ["two"])


def test_shared_task_leases_from_the_app_that_runs_it(make_app: Callable[..., Celery]) -> None:
    """`@shared_task` registers one function in every app, and leases from the one that it runs for."""
    one, two = make_app("one"), make_app("two")

    @shared_task(name="shared.pay")
    @with_db
    def pay(db: FakeConnection) -> None:
        db.execute("paid")

    two.tasks["shared.pay"].apply()
    assert (committed(one), committed(two)) == ([], ["paid"])
    one.tasks["shared.pay"].apply()
    assert (committed(one), committed(two)) == (["paid"], ["paid"])


def test_settings_are_read_without_include(make_app: Callable[..., Celery]) -> None:
    """An eager task leases by its app's settings, though no worker has imported anything; changed ones are followed."""
    app = Celery("plain", set_as_current=False, taskconn_databases={"default": "sqlite://"})

    @app.task
    @with_db
    def see(db: Any) -> str:
        return f"{db.execute('SELECT 1').fetchone()[0]} {taskconn.stats().keys() >= {'default'}}"

    assert see.apply().get() == "1 True"
    app.conf.taskconn_databases = {"other": "sqlite://"}
    error = see.apply().result
    assert "There is no connection 'default'; configured are: other." in str(error)
    _registry._installed.pop(app, None)


def test_app_without_settings_does_not_borrow_those_of_another(make_app: Callable[..., Celery]) -> None:
    """A task of an app that has no settings gets none from the one installed app."""
    make_app("rich")
    poor = Celery("poor", set_as_current=False)

    @poor.task
    @with_db
    def pay(db: Any) -> None: ...

    assert "has no settings in this process" in str(pay.apply().result)


def test_class_based_task_and_autoretry(app: Celery) -> None:
    """`run` of a Task class is decorated as a function is; `autoretry_for` stands outside of it."""

    class Pay(app.Task):  # type: ignore[name-defined,misc]  # made by the app
        name = "shop.pay"

        @with_db
        def run(self, db: FakeConnection, amount: int) -> int:
            db.execute(f"pay {amount}")
            return amount

    pay = app.register_task(Pay())

    @app.task(autoretry_for=(ValueError,), retry_backoff=False, max_retries=2, default_retry_delay=0)
    @with_db
    def fail(db: FakeConnection) -> None:
        db.execute("failed")
        raise ValueError

    assert pay.apply((3,)).get() == 3
    fail.apply()
    assert committed(app) == ["pay 3"]
    with pytest.raises(TypeError, match="db"):
        fail.delay(db=None)


def test_pydantic_sees_the_signature_without_the_connection(app: Celery) -> None:
    """`pydantic=True` validates what the caller passes, and knows nothing of the connection."""

    @app.task(pydantic=True)
    @with_db
    def pay(db: FakeConnection, order: Order) -> int:
        db.execute("pay")
        return order.amount

    assert pay.apply(({"amount": "3"},)).get() == 3


@pytest.mark.parametrize("is_shared", [False, True], ids=["app.task", "shared_task"])
def test_wrong_order_is_refused_with_the_right_one(app: Celery, is_shared: bool) -> None:
    """`@with_db` above `@app.task` would give a function that can't be sent: it is refused where it is written."""
    decorator = shared_task if is_shared else app.task

    with pytest.raises(DecorationError, match=r"Write `@app\.task` above `@with_db`"):

        @with_db
        @decorator
        def pay(db: Any) -> None: ...


def test_outside_of_tasks_nothing_is_described(app: Celery) -> None:
    """Where no task runs there is no context, and an eager task has no deadline."""

    @app.task(soft_time_limit=5)
    def look() -> object:
        return current_task().deadline

    assert current_task() is None
    assert look.apply().get() is None


def test_after_commit_sends_when_the_task_has_committed(app: Celery) -> None:
    """What `after_commit` was given runs after the commit, and not after a rollback."""
    order: list[str] = []

    @app.task
    @with_db
    def pay(db: FakeConnection, fails: bool) -> None:
        db.execute("paid")
        taskconn.after_commit(lambda: order.append(db.calls[-1]))
        if fails:
            raise ValueError

    pay.apply((False,))
    pay.apply((True,))

    assert order == ["commit"]
