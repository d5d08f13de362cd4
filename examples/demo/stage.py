"""The run itself: servers and workers are started, tasks sent, events heard, victims killed, and all of it ended."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from examples.servers import Redis

from . import celery_part, pool_part, rq_part
from .databases import Database, open_database
from .events import VARIABLE, Event, Listener
from .history import History
from .programs import Program
from .proof import Claim, prove

SYSTEMS = (celery_part.SYSTEM, rq_part.SYSTEM, pool_part.SYSTEM)

#: How long no process may be heard of before the run is given up, in seconds.
_SILENCE_S = 60.0


class DemoError(Exception):
    """The run could not be brought to its end; the message says why, with the log of the program at fault."""


@dataclass
class Stage:
    """
    Hold everything that one run has started.

    Attributes:
        tasks: How many tasks each system gets.
        stack: Ends what was started, in reverse order.
        folder: Everything's temporary folder.
        history: What was heard so far.
        programs: The workers.
    """

    tasks: int
    stack: ExitStack
    folder: Path = field(init=False)
    history: History = field(default_factory=lambda: History(time.time()))
    programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="taskconn-demo-")))

    def start(self, kind: str) -> Database:
        """Start the servers, and give the database; see `open_database` for *kind*."""
        self._redis = self.stack.enter_context(Redis())
        self._listener = self.stack.enter_context(closing(Listener(self.folder / "events")))
        return open_database(kind, self.folder, self.stack)

    def play(self, database: Database, on_news: Callable[[History], None]) -> None:
        """
        Run all tasks on all systems at the same time, kill one child of each, and end the workers.

        Args:
            database: Where the tasks write to.
            on_news: Called whenever something was heard.

        Raises:
            DemoError: A worker has ended or fallen silent, or ended badly.
        """
        broker_url, victim = self._redis.url(), self.tasks // 2
        environ = {
            "TASKCONN_URL": database.url,
            "DEMO_BROKER_URL": broker_url,
            VARIABLE: str(self.folder / "events"),
            "TMPDIR": str(self.folder),  # a program that is killed leaves its temporary files
        }
        self.history.began = time.time()
        rq_part.send(broker_url, self.tasks, victim)
        for system, command in (
            (celery_part.SYSTEM, celery_part.command()),
            (rq_part.SYSTEM, rq_part.command()),
            (rq_part.SYSTEM, rq_part.command()),  # a fork for each job is slow: two share the work
            (pool_part.SYSTEM, pool_part.command(self.tasks, victim)),
        ):
            self.programs.append(Program(system, command, environ, self.folder))
            self.stack.callback(self.programs[-1].kill)
        celery_part.send(broker_url, self.tasks, victim)
        self._listen(on_news)
        self._end_workers()

    def prove(self, database: Database) -> list[Claim]:
        """Ask *database* for the proof."""
        return prove(database, SYSTEMS, tasks=self.tasks, parents=len(self.programs), kills=self.history.kills)

    def _listen(self, on_news: Callable[[History], None]) -> None:
        heard_at = time.monotonic()
        while not self._is_complete():
            event = self._listener.next(timeout_s=1)
            if event is not None:
                heard_at = time.monotonic()
                self.history.add(event)
                if event.kind == "halted":
                    self._kill(event)
            else:
                self._check_workers(time.monotonic() - heard_at)
            on_news(self.history)

    def _kill(self, event: Event) -> None:
        """Kill a child that has inserted a row and not committed it."""
        os.kill(event.pid, signal.SIGKILL)
        self.history.add_kill(event, time.time())
        if event.system == pool_part.SYSTEM:
            self._redis.query("RPUSH", pool_part.KILLED, event.number)

    def _is_complete(self) -> bool:
        return all(self._has_done_all(system) for system in SYSTEMS)

    def _has_done_all(self, system: str) -> bool:
        return len(self.history.done.get(system, ())) >= self.tasks

    def _check_workers(self, silence_s: float) -> None:
        for program in self.programs:
            if self._has_done_all(program.system):
                continue
            if program.returncode is not None:
                raise DemoError(f"{program.system}'s worker ended too early, {program.returncode}:\n{program.log()}")
            if silence_s > _SILENCE_S:
                raise DemoError(f"{program.system} is silent for {silence_s:.0f} s. It said:\n{program.log()}")

    def _end_workers(self) -> None:
        """Ask workers to end; the pool's program ends by itself."""
        for program in self.programs:
            code = program.stop(signal_number=None if program.system == pool_part.SYSTEM else signal.SIGTERM)
            if code:
                raise DemoError(f"{program.system}'s worker ended with {code}:\n{program.log()}")
