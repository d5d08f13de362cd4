"""A table whose values are made when they are asked for: a program that needs one imports no library of the others."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class Lazy(Mapping[str, T]):
    """
    Map names to values, each made once.

    Attributes:
        makers: What makes them.
    """

    def __init__(self, makers: Mapping[str, Callable[[], T]]) -> None:
        self.makers = makers
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            self._made[name] = self.makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self.makers

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


def found(path: str) -> Any:
    """Import what ``module:attribute`` names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def named(path: str) -> Callable[[], Any]:
    """Make an object of the class that ``module:attribute`` names."""

    def make() -> Any:
        return found(path)()

    return make
