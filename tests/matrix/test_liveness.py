"""The server, or the way to it, goes away: the next lease works, or says in time that it can't; never a stale row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from taskconn import Registry
from taskconn._lease import Lease
from taskconn.errors import ConnectionFailedError
from tests.drivers.rows import Row
from tests.matrix.families import FAMILIES, Family
from tests.matrix.relay import Relay
from tests.matrix.results import Results
from tests.matrix.rows import IS_FULL, ROWS, pick
from tests.matrix.stopwatch import Stopwatch

#: Ways to lose a connection. Those of the second line are silent: only a round trip shows them.
LOUD = ("killed", "idle timeout", "restarted", "crashed", "FIN", "RST")
SILENT = ("frozen", "black hole")

#: Options of the alias where they matter: a silent loss is waited for, half of `connect_timeout` by the check and half
#: by the opening. Elsewhere that long a wait would be a hang.
_OPTIONS: Mapping[str, Mapping[str, float]] = {
    "crashed": {"connect_timeout": 5},
    "frozen": {"connect_timeout": 3, "health_check_interval": 0},
    "black hole": {"connect_timeout": 4, "health_check_interval": 0},
}
_PATIENCE_S = 30.0

_SERVED = [row for row in ROWS.values() if row.has_server]


def _cells(losses: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(row, transport, loss, id=f"{row.name}-{transport}-{loss}".replace(" ", "-"))
        for row in _SERVED
        for transport in (("TCP", "Unix socket", "TLS") if IS_FULL else ("TCP",))
        for loss in pick(row, losses)
    ]


class Scene:
    """An alias whose connection is about to be lost."""

    def __init__(self, row: Row, family: Family, transport: str, folder: Path, options: Mapping[str, float]) -> None:
        self.row, self.family = row, family
        self.relay: Relay = family.relay(transport, folder)
        self.registry = Registry()
        url = family.url(row, transport, self.relay, folder)
        self.timeout_s = options.get("connect_timeout", _PATIENCE_S)
        settings = {"url": url, "max_size": None, "connect_timeout": _PATIENCE_S, **row.options, **options}
        self.handle = self.registry.add("orders", settings)
        self.address = self.registry.pool("orders").target().address
        with self.lease() as db:
            self.session_id = row.session_id(db)
            row.values(db)

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.registry.close()
        self.relay.__exit__(None, None, None)

    def lease(self) -> Lease[Any]:
        return Lease(self.handle, "a test")

    def age(self, seconds: float = 0.6) -> None:
        """Let what is idle have been unused for a while."""
        for pooled in self.registry.pool("orders").members():
            pooled.used_at -= seconds
            pooled.fresh_until -= seconds

    def lose(self, how: str) -> None:
        """Lose the connection; when it returns, the client's host knows as much as it ever will."""
        server = self.family.server
        if how == "killed":
            self.family.kill(self.session_id)
        elif how == "idle timeout":
            with self.family.idle_out(self.row, None):
                self.relay.wait_until_closed()
        elif how == "restarted":
            server.restart()
        elif how == "crashed":
            server.kill9()
        elif how == "frozen":
            server.pause()
        elif how == "black hole":
            self.relay.swallow()
        else:
            self.relay.cut(how)  # type: ignore[arg-type]  # FIN or RST
        if how in {"killed", "restarted", "crashed"}:
            self.relay.wait_until_closed()

    def works(self) -> bool:
        """Tell whether the next lease has a working connection, and gives no stale row."""
        self.registry.pool("orders").opener.renew()  # as after the pause that follows a failed try
        watch = Stopwatch()
        with self.lease() as db:
            is_in_time = watch.seconds() < self.timeout_s + 1
            answers = [self.row.ask(db, number) for number in range(4)]
            is_right = all(found == right for found, right in answers)
            return is_in_time and is_right and self.row.session_id(db) != self.session_id

    def fails_in_time(self) -> bool:
        """Tell whether the next lease says in time, and in so many words, that there is no connection."""
        watch = Stopwatch()
        with pytest.raises(ConnectionFailedError, match="orders") as caught, self.lease():
            pass
        assert self.address in str(caught.value)
        return watch.seconds() < self.timeout_s + 1


@pytest.fixture
def server_comes_back(family: Family) -> Iterator[None]:
    """Have the server run again after the test."""
    yield
    if family.server.is_running():
        family.server.resume()
    else:
        family.server.start()


def _skip_rst_on_unix(row: Row, transport: str, loss: str, results: Results, when: str) -> None:
    if (transport, loss) == ("Unix socket", "RST"):
        results.note_impossible(row.name, "Liveness", f"{transport}, {loss}, {when}", "a Unix socket has no RST")
        pytest.skip("a Unix socket has no RST")


@pytest.mark.parametrize(("row", "transport", "loss"), _cells((*LOUD, *SILENT)))
def test_next_lease_works_or_says_in_time_that_it_can_not(
    row: Row,
    family: Family,
    transport: str,
    loss: str,
    results: Results,
    tmp_path: Path,
    server_comes_back: None,
) -> None:
    """Unused for half a second (loud losses) or for ``health_check_interval`` (silent ones), it is looked at first."""
    _skip_rst_on_unix(row, transport, loss, results, "unused")
    holds = False
    try:
        with Scene(row, family, transport, tmp_path, _OPTIONS.get(loss, {})) as scene:
            if loss == "idle timeout":
                with scene.lease() as db:
                    idle = family.idle_out(row, db)
            else:
                idle = nullcontext()
            with idle:
                if loss == "idle timeout":
                    scene.relay.wait_until_closed()
                else:
                    scene.lose(loss)
            scene.age()
            if loss == "crashed":
                holds = scene.fails_in_time()
                family.server.start()
                holds &= scene.works()
            elif loss == "frozen":
                holds = scene.fails_in_time()
                family.server.resume()
                holds &= scene.works()
            else:
                holds = scene.works()
    finally:
        results.note(row.name, "Liveness", passed=holds)
    assert holds


@pytest.mark.parametrize(("row", "transport", "loss"), _cells(("killed", "restarted", "FIN", "RST")))
def test_a_loss_earlier_than_that_is_the_first_statements_error(
    row: Row, family: Family, transport: str, loss: str, results: Results, tmp_path: Path, server_comes_back: None
) -> None:
    """What was used just now is not looked at; the first statement fails as the library has it, and it is replaced."""
    _skip_rst_on_unix(row, transport, loss, results, "just used")
    holds = False
    try:
        with Scene(row, family, transport, tmp_path, {}) as scene:
            scene.lose(loss)
            scene.age(-5)  # however long the loss took
            if row.family == "redis":  # redis-py connects anew by itself
                holds = scene.works()
            else:
                with pytest.raises(row.errors or scene.registry.pool("orders").driver.errors), scene.lease() as db:
                    row.values(db)
                holds = scene.works()
    finally:
        results.note(row.name, "Liveness", passed=holds)
    assert holds


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_what_can_not_be_had_is_listed(row: Row, results: Results) -> None:
    """A silent loss is seen by a round trip alone, and a file has no server to lose."""
    family = FAMILIES[row.family]
    if "liveness" in family.impossible:
        for loss in (*LOUD, *SILENT):
            results.note_impossible(row.name, "Liveness", loss, family.impossible["liveness"])
        return
    for transport in ("TCP", "Unix socket", "TLS"):
        for loss in ("idle timeout", "crashed"):
            reason = "takes longer than half a second by itself" if loss == "idle timeout" else "as for a restart"
            results.note_impossible(row.name, "Liveness", f"{transport}, {loss}, just used", reason)
        for loss in SILENT:
            reason = "the statement waits for as long as the URL's own timeout says: nothing tells of the loss"
            results.note_impossible(row.name, "Liveness", f"{transport}, {loss}, just used", reason)
