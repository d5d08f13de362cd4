"""What the demo shows while it runs and at its end: progress bars and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .history import History, Process
from .proof import Claim

#: Width of the tables where there is no terminal to ask.
_WIDTH = 100


def make_console() -> Console:
    """Make a console: coloured on a terminal, plain text without."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH, no_color=True, highlight=False)


@contextmanager
def progress(console: Console, systems: Iterable[str], tasks: int) -> Iterator[Callable[[History], None]]:
    """Give a function that shows how far each system is; without a terminal, a line for each quarter."""
    if not console.is_terminal:
        yield _quarters(console, tasks)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=console) as bars:
        ids = {system: bars.add_task(system, total=tasks, note="") for system in systems}

        def show(history: History) -> None:
            killed = {kill.system: f"[red]killed {kill.pid}[/]" for kill in history.kills}
            for system, number in ids.items():
                done = len(history.done.get(system, ()))
                if done != bars.tasks[number].completed:
                    bars.update(number, completed=done, note=killed.get(system, ""))

        yield show


def _quarters(console: Console, tasks: int) -> Callable[[History], None]:
    told: dict[str, int] = {}
    kills: set[int] = set()

    def show(history: History) -> None:
        for kill in history.kills:
            if kill.pid not in kills:
                kills.add(kill.pid)
                console.print(f"{kill.system}: killed process {kill.pid}, which had inserted and not committed")
        for system, numbers in history.done.items():
            quarter = 4 * len(numbers) // tasks
            if quarter > told.get(system, 0):
                told[system] = quarter
                console.print(f"{system}: {len(numbers)} of {tasks} tasks")

    return show


def process_table(console: Console, history: History, systems: Iterable[str]) -> Table:
    """Make the table of processes. RQ's work horses, one for each job, share a line."""
    table = Table(title="Processes and their connections to the database", box=_box(console), title_justify="left")
    table.add_column("system")
    table.add_column("process")
    for name in ("pid", "tasks", "connections", "opens", "discards"):
        table.add_column(name, justify="right")
    for system in systems:
        for group in grouped(history.of_system(system)):
            table.add_row(*_row(group))
        table.add_section()
    return table


def proof_table(console: Console, claims: Iterable[Claim], source: str) -> Table:
    """Make the table of claims."""
    table = Table(title=f"The proof, read back from {source}", box=_box(console), title_justify="left")
    table.add_column("what")
    for name in ("expected", "found"):
        table.add_column(name, justify="right")
    table.add_column("")
    for claim in claims:
        style = "green" if claim.verdict == "ok" else "dim" if claim.found is None else "bold red"
        table.add_row(claim.text, f"{claim.expected:,}", claim.shown, f"[{style}]{claim.verdict}[/]")
    return table


def grouped(processes: list[Process]) -> list[list[Process]]:
    """Put all work horses of one RQ worker into a group, for there is one for each job; other processes stand alone."""
    groups: dict[int, list[Process]] = {}
    for process in processes:
        groups.setdefault(-process.parent_pid if is_horse(process) else process.pid, []).append(process)
    return list(groups.values())


def is_horse(process: Process) -> bool:
    """Is it a child that RQ forks for one job alone?"""
    return process.system == "RQ" and not process.is_parent


def role(group: list[Process]) -> str:
    """Say what the processes of a group are."""
    first = group[0]
    if first.is_parent:
        return "parent"
    if is_horse(first):
        return f"{len(group):,} work horses of {first.parent_pid}"
    return "child"


def _row(group: list[Process]) -> list[str]:
    def total(name: str) -> str:
        return f"{sum(process.stats.get(name, 0) for process in group):,}"

    pid = str(group[0].pid) if len(group) == 1 else ""
    most = max(process.stats.get("open", 0) for process in group)
    tasks = sum(len(process.spans) for process in group)
    connections = f"{most} each" if len(group) > 1 else str(most)
    killed = sum(process.killed_at is not None for process in group)
    what = f"{role(group)}, {killed} killed" if killed else role(group)
    return [group[0].system, what, pid, f"{tasks:,}", connections, total("opens"), total("discards")]


def _box(console: Console) -> box.Box:
    return box.ROUNDED if console.is_terminal else box.ASCII2
