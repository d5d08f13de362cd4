"""Forks that no guard can refuse, and those of children."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from tests.support.process import Script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lists descriptors")

#: A fork by C code that runs Python's hooks: there is no audit event that could refuse it.
_C_FORK = """
import ctypes, os, socket, sys, taskconn
taskconn.guard("raise")
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
libc, api = ctypes.CDLL(None), ctypes.PyDLL(None)
api.PyOS_BeforeFork()
child = libc.fork()
if child == 0:
    api.PyOS_AfterFork_Child()
    os._exit(0)
api.PyOS_AfterFork_Parent()
os.waitpid(child, 0)
print("forked")
"""

#: Children that fork again, as those of a pool of workers do.
_TWO_LEVELS = """
import os, socket, sys, taskconn
taskconn.guard("warn")
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for _ in range(2):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        os._exit(0)
    os.wait()
"""


def test_fork_by_c_code_is_reported_only(script: Callable[..., Script], peer: tuple[str, int]) -> None:
    """Where C code forks by itself nothing can refuse it: mode `raise` reports."""
    output = script(_C_FORK, str(peer[1])).succeed()

    assert re.search(r"forks with an open unknown connection to .*, opened at <string>:4 in <module>", output)
    assert "forked" in output


def test_children_do_not_repeat_what_their_parent_has_reported(
    script: Callable[..., Script], peer: tuple[str, int]
) -> None:
    """Each connection is reported once, by the process that forked with it first."""
    output = script(_TWO_LEVELS, str(peer[1])).succeed()

    assert output.count("forks with an open") == 1
