"""The guard: looks for live connections at a fork, and reports them, refuses it, or gives the child dead ones."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, get_args

from .. import _process
from .._process import Owner, Socket
from ..errors import ForkRefusedError, GuardSettingError
from ..options import GuardMode
from . import _fence, _holders, _known, _origins, _trace
from ._clients import Client, Scanner
from ._findings import Finding, is_allowed
from ._libraries import kind_by_address
from ._stacks import Opening, explain

__all__ = ["Guard", "mode_named", "the_guard"]

log = logging.getLogger("taskconn")


class Guard:
    """
    Know which connections of others are open in this process, and act on them when it forks.

    Attributes:
        mode: What is done.
        allowed: Addresses, files or lines whose connections may cross.
        found: What the last fork would have carried over.
        when_refused: Called when a fork is refused: task systems may swallow the error that says so.
    """

    def __init__(self) -> None:
        self.mode: GuardMode = "off"
        self.allowed: tuple[str, ...] = ()
        self.found: list[Finding] = []
        self.when_refused: Callable[[], object] | None = None
        self._scanner = Scanner()
        self._verdicts: dict[Socket, Finding | None] = {}
        self._findings: list[Finding] = []
        self._reported: set[Socket] = set()
        self._redis = _known.RedisPools()
        self._is_looked_at = False

    def set(self, mode: GuardMode, allowed: Iterable[str] = ()) -> None:
        """Change what is done from now on."""
        self.mode, self.allowed = mode, tuple(allowed)
        self._verdicts.clear()
        self._scanner = Scanner()
        if mode != "off":
            _origins.begin()
            _process.me.guard = self
        _origins.on_fork(self._refuse_fork if mode == "raise" else None)

    def look(self) -> list[Finding]:
        """List the connections that would cross a fork now; what is known and what is allowed is left out."""
        if not self._scanner.is_unchanged():
            self._look_anew()
        return [finding for finding in self._findings if not self._is_idle(finding)] if self._findings else []

    def _look_or_say(self) -> list[Finding]:
        """Look; a fork must not fail, nor children go unfenced in silence, because of a mistake here."""
        try:
            return self.look()
        except Exception:
            log.exception("the guard of process %d could not look at its connections", _process.getpid())
            return []

    def _look_anew(self) -> None:
        own = frozenset(_process.own_sockets())
        judged, unknown = dict[Socket, Finding | None](), list[Client]()
        for client in self._scanner.clients():
            if client.socket in self._verdicts:
                judged[client.socket] = self._verdicts[client.socket]
            elif client.socket not in own:
                unknown.append(client)
        if unknown:
            judged.update(self._judge(unknown))
        self._verdicts = judged
        self._findings = [finding for finding in judged.values() if finding is not None]

    def refuse(self) -> None:
        """
        Refuse a fork that would carry a connection over.

        Raises:
            ForkRefusedError: There is one.
        """
        _process.get_ready()
        self.found = self._look_or_say()
        if self.found:
            _process.go_on()
            raise ForkRefusedError(_process.getpid(), "; ".join(map(str, self.found)))

    def _refuse_fork(self) -> None:
        try:
            self.refuse()
        except ForkRefusedError:
            if self.when_refused is not None:
                self.when_refused()
            raise
        self._is_looked_at = True

    def before_fork(self) -> None:
        """Look, and report what was not reported before. In the parent; a child inherits what was reported."""
        if self.mode == "off" or _is_exec():
            self.found = []
            return
        try:
            if not self._is_looked_at:
                self.found = self._look_or_say()
            self._is_looked_at = False
            for finding in self.found:
                if finding.client.socket not in self._reported:
                    self._reported.add(finding.client.socket)
                    self._report(finding)
        except Exception:  # a fork must not fail because of a mistake here
            log.exception("the guard of process %d could not report its connections", _process.getpid())

    def sockets(self) -> list[Socket]:
        """List the sockets that the child may not keep."""
        return [finding.client.socket for finding in self.found] if self.mode == "fence" else []

    def after_fork_in_child(self, parent: Owner) -> None:
        """Let what was replaced say so; tasks are not traced."""
        _trace.end()
        if not self.found:
            return  # what is written is copied
        if self.mode == "fence":
            for finding in self.found:
                _fence.speak(finding)
        self.found = []

    def _is_idle(self, finding: Finding) -> bool:
        return finding.kind == "Redis" and self._redis.has_idle(finding.client.socket.fd)

    def _judge(self, clients: list[Client]) -> dict[Socket, Finding | None]:
        """Decide about sockets that were not seen before."""
        verdicts: dict[Socket, Finding | None] = {}
        unexplained, doubtful = list[Client](), list[Client]()
        for client in clients:
            origin = _origins.origin_of(client.socket)
            opening = explain(origin.stack) if origin is not None else None
            if origin is None or opening is None or (not opening.owner and opening.place is None):
                unexplained.append(client)
                continue
            if not origin.is_certain:
                doubtful.append(client)
            if _minds_forks(opening):
                verdicts[client.socket] = None
            else:
                reference = self._find_object(client, origin.socket or _nothing)
                verdicts[client.socket] = self._allow(_finding(client, opening, reference))
        if unexplained or doubtful:
            verdicts.update(self._search(unexplained, doubtful))
        return verdicts

    def _find_object(self, client: Client, reference: Callable[[], Any]) -> Callable[[], Any]:
        """Find the Python object that a fence has to speak for: TLS puts another one in the place of the first."""
        fd, sock = client.socket.fd, reference()
        if self.mode != "fence" or (sock is not None and sock.fileno() == fd):
            return reference
        holder = _holders.find([fd], _holders.users_roots()).get(fd)
        return holder.reference if holder is not None else reference

    def _search(self, clients: list[Client], doubtful: list[Client]) -> dict[Socket, Finding | None]:
        """
        Find out by what holds them about sockets that were opened before the guard was there, or unseen by it.

        Those that are *doubtful* have a verdict by their origin, which may be another thread's: a holder knows better.
        """
        descriptors = [client.socket.fd for client in (*clients, *doubtful)]
        known = _holders.find(descriptors, _holders.infrastructure_roots())
        held = _holders.find([fd for fd in descriptors if fd not in known], _holders.users_roots())
        verdicts: dict[Socket, Finding | None] = {}
        for client in (*clients, *(one for one in doubtful if one.socket.fd in known or one.socket.fd in held)):
            fd, holder = client.socket.fd, held.get(client.socket.fd)
            is_quiet = holder is None and (not client.is_private or not isinstance(client.peer, tuple))
            is_disposed = holder is not None and _known.is_disposed_in_children({holder.package})
            if (
                fd in known or is_quiet or is_disposed
            ):  # handed on by whoever started this process, or the C library's own
                verdicts[client.socket] = None
                continue
            kind = (holder.kind if holder is not None else "") or kind_by_address(client.peer)
            place, name, reference = (holder.place, holder.name, holder.reference) if holder else (None, "", _nothing)
            verdicts[client.socket] = self._allow(Finding(client, kind, place, None, name, (), reference))
        return verdicts

    def _allow(self, finding: Finding) -> Finding | None:
        return None if is_allowed(finding, self.allowed) else finding

    def _report(self, finding: Finding) -> None:
        pid = _process.getpid()
        if self.mode == "fence":
            _fence.prepare()
            log.error(
                "process %d forks with an open %s: fenced. In the child it is dead, and using it a lost connection. "
                "Open it in the child, or write a `taskconn.proxy` in its place (docs/guard.md).",
                pid,
                finding,
            )
            return
        log.warning(
            "process %d forks with an open %s. Parent and children that use it read each other's replies. "
            "Open it in the child, or write a `taskconn.proxy` in its place (docs/guard.md).",
            pid,
            finding,
        )


def mode_named(value: object) -> GuardMode:
    """
    Read a mode from a setting.

    Raises:
        GuardSettingError: There is no such mode.
    """
    name = str(value).strip().lower()
    for mode in get_args(GuardMode):
        if name == mode:
            return mode  # type: ignore[no-any-return]  # get_args is not typed
    raise GuardSettingError(str(value), ", ".join(get_args(GuardMode)))


def _minds_forks(opening: Opening) -> bool:
    return (
        _known.is_infrastructure(opening)
        or _known.is_written_only(opening)
        or _known.is_disposed_in_children(opening.packages)
    )


def _finding(client: Client, opening: Opening, reference: Callable[[], Any]) -> Finding:
    kind = opening.kind or kind_by_address(client.peer)
    return Finding(client, kind, opening.place, opening.by, "", opening.imports, reference)


def _is_exec() -> bool:
    """Tell whether this is a fork by `subprocess`, which runs hooks only for its `preexec_fn`, and replaces itself."""
    frame = sys._getframe(1)  # noqa: SLF001 -- the callers' frames
    for _ in range(4):
        if frame.f_code.co_name == "_execute_child":
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def _nothing() -> None:
    return None


#: The guard of this process.
the_guard = Guard()
