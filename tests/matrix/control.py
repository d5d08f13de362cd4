"""What a program asks of the family and of the relay, which are outside of its process."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.matrix.families import Family
from tests.matrix.relay import Relay


class Control:
    """Answer what a program asks of the family and of the relay, over a Unix socket."""

    def __init__(self, path: Path, family: Family, relay: Relay) -> None:
        self.path = path
        self._family, self._relay = family, relay
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._asker: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and answering."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # nobody may have come: `close` would leave `accept` waiting
        self._listener.close()
        if self._asker is not None:  # a child of a killed program may hold its end
            with contextlib.suppress(OSError):
                self._asker.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)

    def _run(self) -> None:
        try:
            self._asker, _ = self._listener.accept()
        except OSError:
            return
        with self._asker, self._asker.makefile("rw") as lines:
            try:
                for line in lines:
                    name, *arguments = json.loads(line)
                    print(json.dumps(self._answer(name, arguments)), file=lines, flush=True)
            except OSError:  # the program was killed
                return

    def _answer(self, name: str, arguments: list[Any]) -> dict[str, Any]:
        owner = self._relay if name in {"sent", "received"} else self._family
        try:
            return {"value": getattr(owner, name)(*arguments)}
        except Exception as error:  # noqa: BLE001 - told to the program
            return {"error": repr(error)}
