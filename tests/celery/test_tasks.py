"""Tasks in one process, on the fake driver: which calls are attempts of their own, and whose settings they use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, Task, _state, chain, group, shared_task
from celery.exceptions import Ignore, Reject, Retry

import taskconn
import taskconn.celery
from taskconn import _registry, with_db
from taskconn._context import current_task
from taskconn.errors import DecorationError
from taskconn.testing import FakeConnection, FakeDriver


@pytest.fixture
def make_app() -> Iterator[Callable[..., Celery]]:
    """Give a function that makes an app, with a fake server as its alias "default"."""
    apps: list[Celery] = []
    shared = set(_state._on_app_finalizers)  # every task of every app is offered to every later one

    def make(name: str = "shop", **settings: Any) -> Celery:
        app = Celery(name, broker="memory://", set_as_current=False, **settings)
        app.driver = FakeDriver()  # type: ignore[attr-defined]  # for the test to look at
        taskconn.celery.install(app).add("default", app.driver)  # type: ignore[attr-defined]
        apps.append(app)
        return app

    yield make
    _state._on_app_finalizers.clear()
    _state._on_app_finalizers.update(shared)
    for app in apps:
        _registry._installed.pop(app, None)
        app.close()


@pytest.fixture
def app(make_app: Callable[..., Celery]) -> Celery:
    """Give an app with a fake server."""
    return make_app()


def committed(app: Celery) -> list[str]:
    """List what was committed on the connections of *app*, in the order in which they were opened."""
    return [words for connection in app.driver.opened for words in connection.committed]


def test_direct_call_joins_and_apply_does_not(app: Celery) -> None:
    """A direct call is part of the task around it; `apply()` makes a task of its own, with its own settlement."""

    @app.task
    @with_db
    def inner(db: FakeConnection, words: str) -> None:
        db.execute(words)

    @app.task
    @with_db
    def outer(db: FakeConnection) -> None:
        db.execute("outer")
        inner("called")
        inner.run("run")
        inner.apply(("applied",))
        raise ValueError

    outer.apply()

    assert committed(app) == ["applied"]
    assert len(app.driver.opened) == 2


@pytest.mark.parametrize("how", ["delay", "chain", "group"])
def test_eager_tasks_inside_a_task_are_their_own(make_app: Callable[..., Celery], how: str) -> None:
    """With `task_always_eager` what a task sends runs at once, and is settled by itself all the same."""
    app = make_app(task_always_eager=True)

    @app.task
    @with_db
    def inner(db: FakeConnection, *words: str) -> str:
        return db.execute(words[-1])

    @app.task
    @with_db
    def outer(db: FakeConnection) -> None:
        db.execute("outer")
        if how == "delay":
            inner.delay("a")
            inner.delay("b")
        elif how == "chain":
            chain(inner.s("a"), inner.s("b")).delay()
        else:
            group(inner.s("a"), inner.s("b")).delay()
        raise ValueError

    outer.delay()

    assert committed(app) == ["a", "b"]


def test_task_that_calls_itself_joins(app: Celery) -> None:
    """A task that calls itself gets a copy of its own request, and stays one task."""

    @app.task(bind=True)
    @with_db
    def count_down(self: Task, db: FakeConnection, n: int) -> None:
        db.execute(str(n))
        if n:
            self(n - 1)

    count_down.apply((3,))

    assert len(app.driver.opened) == 1
    assert app.driver.opened[0].calls == ["3", "2", "1", "0", "commit"]


def test_task_called_through_another_one_joins_the_nearest_attempt(app: Celery) -> None:
    """A direct call belongs to the nearest attempt around it, whatever it claims to be."""
    seen: dict[str, object] = {}

    @app.task
    def first(*, back: bool = False) -> None:
        seen["back" if back else "first"] = current_task().key
        if not back:
            second.apply()

    @app.task
    def second() -> None:
        seen["second"] = current_task().key
        first(back=True)

    first.apply()

    assert seen["back"] is seen["second"]
    assert seen["first"] is not seen["second"]


def test_eager_retry_is_an_attempt_of_its_own(app: Celery) -> None:
    """An eager retry keeps the id and runs inside the first attempt, whose work is rolled back nevertheless."""

    @app.task(bind=True, max_retries=1)
    @with_db
    def pay(self: Task, db: FakeConnection) -> None:
        db.execute(f"attempt {self.request.retries}")
        if not self.request.retries:
            raise self.retry(countdown=0)

    pay.apply()

    assert committed(app) == ["attempt 1"]


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
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not among the packages of these tests")

    class Order(pydantic.BaseModel):
        amount: int

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


def test_another_thread_of_a_task_is_outside_of_it(app: Celery) -> None:
    """A thread that a task starts leases by itself: it is not part of the task's transaction."""

    @app.task
    @with_db
    def outer(db: FakeConnection) -> None:
        def lease() -> None:
            with taskconn.lease() as own:
                own.execute("thread")

        db.execute("task")
        thread = threading.Thread(target=lease)
        thread.start()
        thread.join()
        raise ValueError

    outer.apply()

    assert committed(app) == ["thread"]


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
