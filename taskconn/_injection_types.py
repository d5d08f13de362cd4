"""What `with_db` is to a type checker: exact where ``db`` comes first, ``Callable[..., R]`` elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, overload

__all__ = ["DbFirst", "DbSecond", "DbThird", "Injector", "InjectorInto", "TypedInjector", "WrongConnectionType"]

# The shapes exclude each other by the place of the name ``db``. A general ``Callable[..., R]`` behind them would not:
# mypy takes two matching overloads for ambiguous, and gives up, where any annotation of the function has an `Any`.

P = ParamSpec("P")
R = TypeVar("R")
C_co = TypeVar("C_co", covariant=True)
C_contra = TypeVar("C_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class DbFirst(Protocol[C_contra, P, R_co]):
    """A function whose first parameter is ``db``."""

    def __call__(self, db: C_contra, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it."""


class DbSecond(Protocol[R_co]):
    """A function whose second parameter is ``db``: a method, above all."""

    def __call__(self, first: Any, /, db: Any, *args: Any, **kwargs: Any) -> R_co:
        """Call it."""


class DbThird(Protocol[R_co]):
    """A function whose third parameter is ``db``."""

    def __call__(self, first: Any, second: Any, /, db: Any, *args: Any, **kwargs: Any) -> R_co:
        """Call it."""


class WrongConnectionType:
    """What a function becomes whose ``db`` is annotated with another type than its handle has: it can't be called."""


class Injector(Protocol):
    """What ``with_db("alias")`` is."""

    @overload
    def __call__(self, function: DbFirst[Any, P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: DbSecond[R], /) -> Callable[..., R]: ...
    @overload
    def __call__(self, function: DbThird[R], /) -> Callable[..., R]: ...


class TypedInjector(Protocol[C_co]):
    """What ``with_db(handle)`` is: it looks at the annotation of ``db``, too."""

    @overload
    def __call__(self, function: DbFirst[C_co, P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: DbFirst[Any, ..., R], /) -> WrongConnectionType: ...
    @overload
    def __call__(self, function: DbSecond[R], /) -> Callable[..., R]: ...
    @overload
    def __call__(self, function: DbThird[R], /) -> Callable[..., R]: ...


class InjectorInto(Protocol):
    """What ``with_db(..., into="name")`` is: a type checker can't find a parameter by such a name."""

    def __call__(self, function: Callable[..., R], /) -> Callable[..., R]:
        """Decorate *function*."""
