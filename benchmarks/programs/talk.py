"""Programs that do a round whenever they are asked: a line in, one line of JSON out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from examples.servers import die_with_parent

__all__ = ["answer", "talk_to"]


@contextmanager
def talk_to(module: str, *words: str) -> Iterator[Callable[[], Mapping[str, float]]]:
    """Run `benchmarks.programs.<module>`; gives a function that has it do a round, and returns the figures."""
    process = subprocess.Popen(
        die_with_parent([sys.executable, "-m", f"benchmarks.programs.{module}", *words]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask() -> Mapping[str, float]:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        line = process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"{module} {' '.join(words)} has ended")
        figures: Mapping[str, float] = json.loads(line)
        return figures

    try:
        yield ask
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def answer(measure: Callable[[], Mapping[str, float]]) -> None:
    """Do a round for each line of the input, until it ends."""
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)
