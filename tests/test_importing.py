"""A fork waits for the imports of other threads: their locks would be held for ever in the child."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

import pytest

from taskconn import _importing
from tests.support.process import Script

#: Forks in the middle of another thread's first lease. Its import goes on when the fork has begun.
PROGRAM = """
import faulthandler, importlib.util, os, sys, threading, time
import taskconn

importing, has_begun, forking = (threading.Event() for _ in range(3))
os.register_at_fork(before=forking.set)

class Import:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != sys.argv[1] or importing.is_set():
            return None
        importing.set()
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_late(module):
            has_begun.set()
            forking.wait(5)
            time.sleep(0.1)  # a fork that does not wait is over by then
            sys.modules["logging"].getLogger("of a library")  # takes a lock that logging's own hook holds at a fork
            execute(module)

        spec.loader.exec_module = execute_late
        return spec

class Client:  # nothing in C: a library's own locks would be another test's
    answer = 42

def lease():
    with taskconn.lease() as db:
        return db.answer

for name in [name for name in sys.modules if name.startswith(sys.argv[1])]:
    del sys.modules[name]
sys.meta_path.insert(0, Import)
taskconn.configure({"default": {"connect": Client}})
thread = threading.Thread(target=lease)
thread.start()
has_begun.wait(5)
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(10, exit=True)
    print("child:", lease(), flush=True)
    os._exit(0)
print("ended with", os.waitpid(child, 0)[1])
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("module", ["taskconn.drivers.callables._client", "random"])
def test_child_of_a_fork_in_the_middle_of_an_import_leases(script: Callable[..., Script], module: str) -> None:
    """The child finds the driver, and what is imported beside it, as the other thread has left them: whole."""
    output = script(PROGRAM, module, environ={"PYTHONWARNINGS": "ignore::DeprecationWarning"}).succeed()

    assert "child: 42" in output
    assert "ended with 0" in output


class Lock:
    """Stands for the lock of a module that another thread imports."""

    owner = -1


@pytest.mark.portable
def test_import_that_does_not_end_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs run in an import: their forks do not wait each time."""
    endless, pauses = Lock(), list[float]()
    monkeypatch.setattr(_importing, "PATIENCE_S", 0.01)
    monkeypatch.setattr(_importing, "_locks", {"app": weakref.ref(endless)})
    monkeypatch.setattr(_importing.time, "sleep", pauses.append)
    imports = _importing._Imports()

    imports.before_fork()
    waited = len(pauses)
    imports.before_fork()

    assert len(pauses) == waited > 0
