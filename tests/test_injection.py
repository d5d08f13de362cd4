"""What a function gets from `with_db` when it is called, and what others see of it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import typing
from typing import TYPE_CHECKING, Any

import pytest

import taskconn
from taskconn import with_db
from taskconn._context import TaskContext
from taskconn._injection import injected_aliases, is_async_injected
from taskconn.testing import FakeConnection
from tests.support.core import Fake, fake, task

if TYPE_CHECKING:
    from nowhere import Missing

pytestmark = pytest.mark.portable

app = fake()
cache = app.beside("cache")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Let each test begin with fakes that were told nothing."""
    for one in (app, cache):
        one.registry.close()
        one.driver.opened.clear()


@with_db(app.handle)
def insert_car(db: FakeConnection, name: str, *, year: int = 1970) -> str:
    """Insert a car."""
    return db.execute(f"{name} {year}")


# -- calls -----------------------------------------------------------------------------------------------------------


def test_connection_is_passed_in_and_committed() -> None:
    """The caller leaves the connection out; the call is committed when it returns."""
    assert insert_car("Tavria", year=1987) == "Tavria 1987"
    assert insert_car(name="Tavria") == "Tavria 1970"

    assert app.opened[0].committed == ["Tavria 1987", "Tavria 1970"]


class Garage:
    """Methods of all kinds."""

    @with_db(app.handle)
    def park(self, db: FakeConnection, name: str) -> tuple[Any, str]:
        return self, db.execute(name)

    @staticmethod
    @with_db(app.handle)
    def wash(db: FakeConnection, name: str) -> str:
        return db.execute(name)

    @with_db(app.handle)
    @staticmethod
    def polish(db: FakeConnection, name: str) -> str:
        return db.execute(name)

    @classmethod
    @with_db(app.handle)
    def count(cls, db: FakeConnection, name: str) -> tuple[Any, str]:
        return cls, db.execute(name)

    @with_db(app.handle)
    @classmethod
    def total(cls, db: FakeConnection, name: str) -> tuple[Any, str]:
        return cls, db.execute(name)


def test_methods_of_all_kinds() -> None:
    """`with_db` works on methods, and above or below `staticmethod` and `classmethod`."""
    garage = Garage()

    assert garage.park("a") == (garage, "a")
    assert garage.park(name="a") == (garage, "a")
    assert (Garage.wash("b"), garage.wash(name="b")) == ("b", "b")
    assert (Garage.polish("c"), garage.polish("c")) == ("c", "c")
    assert (Garage.count("d"), garage.count(name="d")) == ((Garage, "d"), (Garage, "d"))
    assert (Garage.total("e"), garage.total("e")) == ((Garage, "e"), (Garage, "e"))


@with_db(app.handle)
def keyword_only(name: str, *, db: FakeConnection) -> str:
    """Take the connection by name alone."""
    return db.execute(name)


@with_db(app.handle)
def positional_only(db: FakeConnection, name: str, /) -> str:
    """Take the connection by place alone."""
    return db.execute(name)


@with_db(app.handle)
def middle(name: str, db: FakeConnection, year: int, *more: int, **rest: int) -> str:
    """Take the connection in the middle."""
    return db.execute(f"{name} {year} {more} {rest}")


@with_db(app.handle)
def last(name: str = "a", db: FakeConnection | None = None) -> str:
    """Take the connection where a default stands."""
    assert db is not None
    return db.execute(name)


def test_parameter_in_any_place() -> None:
    """The connection goes to its parameter wherever that stands, and however the others are passed."""
    assert keyword_only("a") == keyword_only(name="a") == "a"
    assert positional_only("a") == "a"
    assert middle("a", 1, 2, 3, x=4) == "a 1 (2, 3) {'x': 4}"
    assert middle("a", year=1) == middle(year=1, name="a") == "a 1 () {}"
    assert last() == last("a") == last(name="a") == "a"


@with_db(cache.handle, into="cache")
@with_db(app.handle)
def stacked(db: FakeConnection, cache: FakeConnection, name: str) -> tuple[str, str]:
    """Take two connections."""
    return db.execute(name), cache.execute(name.upper())


def test_stacked_decorators() -> None:
    """Each decorator passes in its own; the signature shows what is left, `__wrapped__` is the plain function."""
    assert stacked("a") == ("a", "A")

    assert str(inspect.signature(stacked)) == "(name: 'str') -> 'tuple[str, str]'"
    assert injected_aliases(stacked) == [cache.handle, app.handle]
    assert stacked.__wrapped__(FakeRecorder(), FakeRecorder(), "a") == ("a", "A")  # type: ignore[attr-defined]


class FakeRecorder:
    """What a test passes to a plain function."""

    def execute(self, statement: str) -> str:
        return statement


@with_db(app.handle)
async def waits(db: FakeConnection, name: str) -> str:
    """Insert after a pause."""
    await asyncio.sleep(0)
    if name == "wrong":
        raise ValueError(name)
    return db.execute(name)


def test_async_function_is_settled_when_it_has_been_awaited() -> None:
    """An ``async def`` gets an async wrapper, and is committed or rolled back as it ends."""
    assert inspect.iscoroutinefunction(waits)
    assert is_async_injected(waits)
    assert not is_async_injected(insert_car)

    assert asyncio.run(waits("a")) == "a"
    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(waits("wrong"))

    assert app.opened[0].committed == ["a"]


def test_exception_rolls_back() -> None:
    """A call that raises is rolled back, and its exception passes."""

    @with_db(app.handle)
    def fails(db: FakeConnection) -> None:
        db.execute("INSERT")
        raise KeyError("name")

    with pytest.raises(KeyError, match="name"):
        fails()

    assert app.opened[0].calls == ["INSERT", "rollback"]


def test_returned_failure_rolls_back(tasks: list[TaskContext]) -> None:
    """What a task system calls a failure although it was returned (RQ's ``Retry``) rolls back."""

    @with_db(cache.handle, into="cache")
    @with_db(app.handle)
    def again(db: FakeConnection, cache: FakeConnection) -> str:
        db.execute("INSERT")
        cache.execute("SET")
        return "Retry"

    with task(tasks, returns_commit=lambda result: result != "Retry"):
        assert again() == "Retry"

    assert (app.opened[0].committed, cache.opened[0].committed) == ([], [])


def test_injected_argument_is_refused() -> None:
    """Passing the connection is a TypeError that says where a connection of one's own goes, and leases nothing."""
    with pytest.raises(TypeError, match=r"which `with_db` passes in itself(.|\n)*insert_car\.__wrapped__\("):
        insert_car("a", db=object())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        insert_car()  # type: ignore[call-arg]

    assert app.stats()["leased"] == 0


def test_plain_function_is_for_tests() -> None:
    """`__wrapped__` is the function as it was written, and settles nothing."""
    recorder: Any = FakeRecorder()

    assert insert_car.__wrapped__(recorder, "a") == "a 1970"  # type: ignore[attr-defined]
    assert app.opened == []


# -- what others see -------------------------------------------------------------------------------------------------


def test_signature_is_the_callers() -> None:
    """`inspect` shows the signature without the connection, and the function's own name and text."""
    assert str(inspect.signature(insert_car)) == "(name: 'str', *, year: 'int' = 1970) -> 'str'"
    assert str(inspect.signature(Garage().park)) == "(name: 'str') -> 'tuple[Any, str]'"
    assert insert_car.__doc__ == "Insert a car."
    assert insert_car.__name__ == "insert_car"


def test_type_hints_are_the_callers() -> None:
    """`get_type_hints`, as pydantic asks it, resolves what is left; the connection's own annotation is gone."""

    @with_db(app.handle)
    def hinted(db: Missing, name: str, year: int | None = None) -> bool:
        return bool(db)

    assert typing.get_type_hints(hinted) == {"name": str, "year": int | None, "return": bool}
    assert str(inspect.signature(hinted)) == "(name: 'str', year: 'int | None' = None) -> 'bool'"


def test_decorated_function_is_pickled_by_name() -> None:
    """RQ and multiprocessing send a function by its name: the wrapper is found there."""
    assert pickle.loads(pickle.dumps(insert_car)) is insert_car


def test_wrapper_is_a_plain_function() -> None:
    """Task systems look for functions, not for objects that can be called."""
    assert inspect.isfunction(insert_car)
    assert inspect.isfunction(waits)


def test_callables_that_are_no_functions_are_taken() -> None:
    """A `functools.partial` is as good as a function."""

    def insert(db: FakeConnection, name: str) -> str:
        return db.execute(name)

    assert with_db(app.handle)(functools.partial(insert, name="a"))() == "a"  # type: ignore[call-arg]


def test_alias_is_looked_up_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task module is imported without settings; the alias is looked up when the task runs."""
    empty = taskconn.Registry()
    monkeypatch.setattr("taskconn._context.default_registry", lambda: empty)

    @with_db
    def insert(db: FakeConnection) -> str:
        return db.execute("INSERT")

    with pytest.raises(taskconn.errors.NotConfiguredError, match=r"taskconn\.configure"):
        insert()
    late = Fake(registry=empty)

    assert insert() == "INSERT"
    assert late.opened[0].committed == ["INSERT"]
