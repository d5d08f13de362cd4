"""Find connections that will cross a fork in the source, without importing anything."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import CommandTargetError
from . import _findings

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "paths", nargs="*", default=["."], metavar="PATH", help="files and folders (default: the current)"
    )
    _findings.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the files; 1 if there are findings as bad as ``--fail-on`` says."""
    from ..doctor.lint import check_file, python_files  # noqa: PLC0415 -- other commands do without

    found = []
    try:
        for path in python_files(map(Path, arguments.paths)):
            try:
                found += check_file(path)
            except SyntaxError as error:
                print(f"{path}:{error.lineno or 1}: left out, for it can't be read: {error.msg}", file=sys.stderr)
            except OSError as error:
                print(f"{path}: left out, for it can't be read: {error.strerror}", file=sys.stderr)
    except FileNotFoundError as error:
        raise CommandTargetError(str(error), "there is no such file or folder", "Name files or folders.") from None
    return _findings.show(found, arguments)
