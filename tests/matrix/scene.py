"""An alias whose connection gets lost, and what its next lease makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from taskconn import Registry
from taskconn._lease import Lease
from taskconn.errors import ConnectionFailedError
from tests.drivers.rows import Row
from tests.matrix.families import Family
from tests.matrix.relay import Relay
from tests.matrix.results import Results
from tests.matrix.rows import IS_FULL, ROWS, pick
from tests.support.stopwatch import Stopwatch

#: Ways to lose a connection. Those of the second line are silent: only a round trip shows them.
LOUD = ("killed", "idle timeout", "restarted", "crashed", "FIN", "RST")
SILENT = ("frozen", "black hole")

#: Options of the alias where they matter: a silent loss is waited for, half of `connect_timeout` by the check and half
#: by the opening. Elsewhere that long a wait would be a hang.
OPTIONS: Mapping[str, Mapping[str, float]] = {
    "crashed": {"connect_timeout": 5},
    "frozen": {"connect_timeout": 3, "health_check_interval": 0},
    "black hole": {"connect_timeout": 4, "health_check_interval": 0},
}
_PATIENCE_S = 30.0

_SERVED = [row for row in ROWS.values() if row.has_server]


def cells(losses: tuple[str, ...], among: tuple[str, ...]) -> Any:
    """Mark a test that is run for those of the *losses* that the breadth picks *among* more."""
    return pytest.mark.parametrize(
        ("row", "transport", "loss"),
        [
            pytest.param(row, transport, loss, id=f"{row.name}-{transport}-{loss}".replace(" ", "-"))
            for row in _SERVED
            for transport in (("TCP", "Unix socket", "TLS") if IS_FULL else ("TCP",))
            for loss in pick(row, among)
            if loss in losses
        ],
    )


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


def skip_rst_on_unix(row: Row, transport: str, loss: str, results: Results, when: str) -> None:
    """List what can't be had, and skip it."""
    if (transport, loss) == ("Unix socket", "RST"):
        results.note_impossible(row.name, "Liveness", f"{transport}, {loss}, {when}", "a Unix socket has no RST")
        pytest.skip("a Unix socket has no RST")


def next_lease_holds(row: Row, family: Family, transport: str, loss: str, folder: Path) -> bool:
    """Lose the connection while it is unused; does the next lease work, or say in time that it can't?"""
    with Scene(row, family, transport, folder, OPTIONS.get(loss, {})) as scene:
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
        holds = True
        if loss in {"crashed", "frozen"}:
            holds = scene.fails_in_time()
            if loss == "crashed":
                family.server.start()
            else:
                family.server.resume()
        return scene.works() and holds
