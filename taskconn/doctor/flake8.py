"""The rules of `taskconn lint` as a plugin of flake8; nothing of flake8 is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import version

from .lint import check_tree

__all__ = ["Plugin"]


class Plugin:
    """Check one module for flake8, which itself leaves out the lines that comments silence."""

    name = "taskconn"
    version = version("taskconn")

    def __init__(self, tree: ast.Module, filename: str = "") -> None:
        self._tree = tree
        self._filename = filename

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """Give line, column from 0, text and this class for each finding."""
        for finding in check_tree(self._tree, self._filename):
            words = f"{finding.rule.code} {finding.message}. {finding.rule.remedy}"
            yield finding.line, finding.column - 1, words, type(self)
