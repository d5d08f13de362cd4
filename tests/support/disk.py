"""A small disk of a server's own, which can be filled: a tmpfs, where this process may mount one."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

__all__ = ["Disk", "why_there_is_none"]

#: Names of the folders that disks are mounted on begin so; the process's id follows.
_PREFIX = "taskconn-disk-"

#: Written at once, in bytes; the last ones one page at a time.
_CHUNK, _PAGE = 1 << 20, 4096

_MIB = 1 << 20


class Disk:
    """
    Mount a small disk for as long as a ``with`` statement lasts.

    One that a killed process has left is removed by the next.

    Args:
        size_mib: Its size, in MiB. What is on it takes memory.

    Attributes:
        folder: Where it is mounted; everybody may write there.

    Raises:
        OSError: This process may not mount anything; `why_there_is_none` says so beforehand.
    """

    def __init__(self, size_mib: int) -> None:
        _remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=1777", _PREFIX.rstrip("-"), str(self.folder)]
        try:
            subprocess.run(words, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.folder.rmdir()
            raise OSError(str(getattr(error, "stderr", "") or error).strip()) from error
        self._filler = self.folder / "filler"
        self._owner_pid = os.getpid()
        atexit.register(self.close)

    def __enter__(self) -> Disk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def fill(self) -> None:
        """Leave no byte free."""
        file = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (_CHUNK, _PAGE):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(file, bytes(size))
        finally:
            os.close(file)

    def free(self) -> None:
        """Give back what `fill` has taken."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it, with all that is on it; a forked child leaves it alone."""
        if self._owner_pid == os.getpid():
            self._owner_pid = 0
            atexit.unregister(self.close)
            _unmount(self.folder)


@functools.cache
def why_there_is_none() -> str:
    """Say why this process can't mount a disk; nothing if it can."""
    try:
        Disk(1).close()
    except OSError as error:
        return str(error)
    return ""


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove_abandoned() -> None:
    """Unmount what processes have left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        found = re.match(rf"{_PREFIX}(\d+)-", folder.name)
        if found and folder.is_mount() and not Path("/proc", found[1]).exists():
            _unmount(folder)
