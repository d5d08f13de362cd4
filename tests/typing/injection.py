"""`with_db` has the type that the caller sees, exact where `db` comes first. Read by type checkers, never run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from typing_extensions import assert_type

from taskconn import Handle, Registry, lease, proxy, savepoint, with_db
from taskconn.testing import FakeConnection, FakeDriver

registry = Registry()
fake = registry.add("default", FakeDriver())
by_url = registry.add("cache", "redis://cache/0")

assert_type(fake, Handle[FakeConnection])
assert_type(by_url, Handle[Any])


@with_db
def insert_car(db: FakeConnection, name: str, *, year: int = 1970) -> int:
    return len(db.execute(f"{name} {year}"))


assert_type(insert_car("Zaporozhets", year=1960), int)
insert_car(name="Zaporozhets")
insert_car()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
insert_car(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
insert_car("Tavria", db=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@with_db("cache")
def named(db: Any, name: dict[str, Any]) -> int:
    return len(name)


assert_type(named({}), int)
named({}, "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@with_db(fake)
def by_handle(db: FakeConnection, name: str) -> str:
    return db.execute(name)


assert_type(by_handle("a"), str)
by_handle(db=1, name="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@with_db(fake)
def of_another_type(db: int, name: str) -> str:
    return name * db


of_another_type("a")  # type: ignore[operator]  # pyright: ignore[reportCallIssue]


@with_db(by_url)
def of_any_type(db: int, name: str) -> str:
    return name * db


assert_type(of_any_type("a"), str)


@with_db
async def waits(db: FakeConnection, name: str) -> int:
    return len(db.execute(name))


coroutine: Coroutine[Any, Any, int] = waits("a")


class Garage:
    @with_db
    def park(self, db: FakeConnection, name: str) -> int:
        return len(db.execute(name))

    @classmethod
    @with_db("cache")
    def count(cls, db: Any, name: str) -> int:
        return len(name) + len(db)

    @staticmethod
    @with_db
    def wash(db: FakeConnection, name: str) -> int:
        return len(db.execute(name))


assert_type(Garage().park, Callable[..., int])
assert_type(Garage.count, Callable[..., int])
assert_type(Garage.wash("a"), int)


@with_db("cache", into="cache")
@with_db
def stacked(db: FakeConnection, cache: Any, name: str) -> int:
    return len(name)


assert_type(stacked, Callable[..., int])


@with_db(into="db")
def by_keyword(name: str, *, db: FakeConnection) -> int:
    return len(db.execute(name))


assert_type(by_keyword, Callable[..., int])

with lease(fake) as leased:
    assert_type(leased, FakeConnection)
with lease("default") as untyped:
    assert_type(untyped, Any)

assert_type(proxy(fake), FakeConnection)
assert_type(proxy("default"), Any)

with savepoint(fake) as same:
    assert_type(same, FakeConnection)
with savepoint("cache") as anything:
    assert_type(anything, Any)


def by_name(name: str) -> str:
    return name


@with_db(fake, once=by_name, rollback_on=bool)
def done_once(db: FakeConnection, name: str) -> int:
    return len(db.execute(name))


assert_type(done_once("a"), int)


@with_db("cache", once=True)
def done_once_by_name(db: Any, name: str) -> str:
    return name


assert_type(done_once_by_name("a"), str)
