"""Run a program under the guard: ``taskconn run --guard=fence script.py``, ``taskconn run -m celery -A shop ...``."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path
from typing import get_args

from .. import _guard
from ..options import GuardMode

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to the command's *parser*."""
    parser.add_argument(
        "--guard",
        choices=get_args(GuardMode),
        default="warn",
        help="what to do about connections that are open at a fork (default: warn)",
    )
    parser.add_argument(
        "--allow", metavar="WHAT", action="append", default=[], help="an address, file or line that may cross forks"
    )
    parser.add_argument("-m", dest="is_module", action="store_true", help="the program is a module, as in `python -m`")
    parser.add_argument("program", help="a script, or with -m a module")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="its own arguments")


def run(arguments: argparse.Namespace) -> int:
    """Run the program as the interpreter would; it ends this process as it likes."""
    _guard.guard(arguments.guard, allow=arguments.allow)
    if arguments.guard != "off":
        _guard.trace()
    os.environ[_guard.MODE] = arguments.guard  # for interpreters that the program starts
    os.environ[_guard.ALLOW] = ",".join(arguments.allow)
    sys.argv[:] = [arguments.program, *arguments.words]
    if arguments.is_module:
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(arguments.program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(arguments.program).resolve().parent))
        runpy.run_path(arguments.program, run_name="__main__")
    return 0
