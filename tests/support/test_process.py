from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support import process
from tests.support.process import Script


def test_output_is_waited_for_line_by_line(script: Callable[..., Script], tmp_path: Path) -> None:
    """A test waits for what a program says, not for time to pass; the log file has it too."""
    program = script("import sys; print('one', sys.argv[1]); print('two', file=sys.stderr); input()", "argument")

    assert program.wait_for(r"^one (\w+)$")[1] == "argument"
    assert program.wait() == 1
    assert "two" in program.output
    assert "EOFError" in (tmp_path / "script-0.log").read_text()


def test_waiting_in_vain_shows_the_output(script: Callable[..., Script]) -> None:
    """A program that ended, or stays silent, is reported with all that it said."""
    ended = script("print('only this')")
    silent = script("print('nothing more'); import signal; signal.pause()")

    with pytest.raises(AssertionError, match=r"(?s)output ended.*only this"):
        ended.wait_for("never")
    with pytest.raises(AssertionError, match=r"(?s)0.5 s passed.*nothing more"):
        silent.wait_for("never", timeout=0.5)


def test_stopped_program_gives_its_exit_code(script: Callable[..., Script]) -> None:
    """A signal reaches the program's head process, not a shell around it."""
    program = script("import signal; print('up'); signal.pause()")
    program.wait_for("up")

    assert program.stop(signal.SIGINT) == -signal.SIGINT
    assert script("print('fine')").succeed() == "fine\n"


@pytest.mark.parametrize("leaves_parent", [False, True], ids=["child", "orphan"])
def test_descendants_are_killed_too(script: Callable[..., Script], leaves_parent: bool) -> None:
    """No process that a program forked outlives it, even when its parent has gone."""
    program = script(
        f"""if 1:
        import os, signal
        if os.fork() and {leaves_parent}:
            os._exit(0)
        os.write(1, f"pid {{os.getpid()}}\\n".encode())
        signal.pause()
        """
    )
    pid = int(program.wait_for(r"pid (\d+)", count=1 if leaves_parent else 2)[1])

    descendant = psutil.Process(pid)
    program.kill()

    with contextlib.suppress(psutil.NoSuchProcess):
        assert descendant.status() == psutil.STATUS_ZOMBIE  # killed, and not yet reaped by init


def test_pipe_that_a_child_keeps_open_is_closed_in_the_end(
    script: Callable[..., Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orphan in a session of its own outlives the program; as it ends, nothing is left to be collected."""
    monkeypatch.setattr(process, "_LAST_WORDS_S", 0.01)
    program = script(
        """if 1:
        import os, signal
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            while os.getppid() == os.getsid(0):
                pass
            os.write(1, f"pid {os.getpid()}\\n".encode())
        signal.pause()
        """
    )
    orphan = psutil.Process(int(program.wait_for(r"pid (\d+)")[1]))
    program.kill()
    assert orphan.is_running()
    pipe = program._process.stdout
    assert pipe is not None
    assert not pipe.closed

    orphan.kill()
    program._reader.join(30)

    assert pipe.closed
