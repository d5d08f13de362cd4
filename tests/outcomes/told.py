"""What a test hears of tasks: from their worker's output, and from the places where they write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.outcomes.places import Place
from tests.support.process import Script

#: Longest wait for an event that comes within moments on a quiet machine, in seconds.
PATIENCE_S = 60.0


class Told:
    """
    Hear what a worker's tasks say.

    Attributes:
        script: The worker's process and its output, or that of several workers' parent.
        places: Where tasks write, by the drivers' names, which are their aliases too.
        folder: Where the log is, and the book of the tasks.
    """

    def __init__(self, script: Script, places: Mapping[str, Place], folder: Path) -> None:
        self.script = script
        self.places = places
        self.folder = folder

    def said(self, key: str) -> list[str]:
        """List what was said of a task so far, in order: ``"after_commit"``, ``"on_failure ValueError"``, ..."""
        found = re.findall(rf"^SAY (\S+) {re.escape(key)}\b ?(.*)$", self.script.output, re.MULTILINE)
        return [" ".join(filter(None, words)) for words in found]

    def wait_for(self, words: str, key: str, *, count: int = 1) -> None:
        """Wait until *words* were said of a task."""
        what, _, rest = words.partition(" ")
        try:
            self.script.wait_for(rf"^SAY {what} {re.escape(key)}\b ?{rest}", PATIENCE_S, count=count)
        except AssertionError:
            raise AssertionError(f"{key}: no {words!r} among {self.said(key)}; see {self.script.log_path}") from None
