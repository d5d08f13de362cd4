"""The programs of servers: where they are, as whom they run, and that they end with their parent."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

#: Run by a fresh interpreter in front of the real program: the kernel kills it when the parent's process has gone.
_TIE_TO_PARENT = """
import ctypes, os, signal, sys
parent, uid, gid = map(int, sys.argv[1:4])
if uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG: kept across exec, but lost with a change of user
if os.getppid() != parent:
    sys.exit("parent has gone")
os.execvp(sys.argv[4], sys.argv[4:])
"""


class ServerMissingError(RuntimeError):
    """A server's program is not on this machine; the message says what to install."""


class User(NamedTuple):
    """A user that a server runs as, by numbers."""

    uid: int
    gid: int


def unprivileged_user(*names: str) -> User | None:
    """Find the first of *names* that exists, for a server that refuses to run as root; None if this is not root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 - absent on Windows

    for name in names:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return User(entry.pw_uid, entry.pw_gid)
    raise ServerMissingError(f"There is none of the users {names}, and the server refuses to run as root.")


def die_with_parent(command: Sequence[str], user: User | None = None) -> list[str]:
    """
    Wrap *command* so that it is killed when the process that starts it ends, even by SIGKILL.

    The kernel looks at the *thread* that starts it: start from one that stays, as the main thread does. Only Linux
    knows this; elsewhere the command is returned as it was.

    Args:
        command: Program and arguments.
        user: Run it as this user; only root can.

    Source:
        prctl(2), PR_SET_PDEATHSIG.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    identity = map(str, (os.getpid(), *(user or (0, 0))))
    return [sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, *identity, *command]


def find_program(name: str, package: str, *places: str) -> str:
    """
    Find the server program *name* on the PATH, where Debian keeps it for root, or in one of the folders *places*.

    Raises:
        ServerMissingError: It is not there; the message names the Debian *package*.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", *places])
    found = shutil.which(name, path=path)
    if found is None:
        raise ServerMissingError(
            f"There is no {name} on this machine, so no private server can be started. "
            f"Install it: `make servers`, or `apt-get install {package}` as root on Debian and Ubuntu."
        )
    return found
