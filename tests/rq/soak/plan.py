"""What is to happen, and what came of it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Plan:
    """
    Say what is to happen.

    Attributes:
        jobs: Number of jobs, 1 % of which fail and 1 % of which run into their limit of 1 second.
        stops, kills: Numbers of commands and of signals.
        workers: Number of workers at once.
        calm: Number of jobs that one horse runs afterwards, undisturbed, while its memory is watched.
        seed: Makes the same plan again.
    """

    jobs: int = 20_000
    stops: int = 200
    kills: int = 100
    workers: int = 2
    calm: int = 5_000
    seed: int = 1

    def kinds(self) -> list[str]:
        """Say how each job is to end."""
        chance = random.Random(self.seed)
        share = max(1, self.jobs // 100)
        kinds = ["fails"] * share + ["times out"] * (share // 2) + ["times out in a statement"] * (share - share // 2)
        kinds += ["sleeps"] * (self.jobs // 20)
        kinds += ["returns"] * (self.jobs - len(kinds))
        chance.shuffle(kinds)
        return kinds

    def events(self) -> list[tuple[int, str]]:
        """Say after how many jobs what is done, in order."""
        chance = random.Random(self.seed + 1)
        wanted = ["stop"] * self.stops + ["kill"] * self.kills
        return sorted((chance.randrange(self.jobs * 95 // 100), event) for event in wanted)


@dataclass
class Report:
    """
    Hold what came of it.

    Attributes:
        ends: How many jobs of each kind ended how.
        wrong: Sentences on what ought not to have happened; empty if all is well.
        figures: Name and value, for the reader.
    """

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{number:6}  {kind}: {end}" for (kind, end), number in sorted(self.ends.items())]
        lines += [f"{name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"WRONG: {sentence}" for sentence in self.wrong[:40])])
