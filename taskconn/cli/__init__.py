"""The command line: arguments in, text, tables or JSON out. A command is a module here and a table's row."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from ..errors import TaskconnError

__all__ = ["COMMANDS", "main"]

#: Command -> what it does, in a few words; the module of the same name in this folder has `add_arguments(parser)` and
#: `run(arguments) -> int`, which gives the exit code. It imports what is heavy inside of `run` alone.
COMMANDS: Mapping[str, str] = {
    "check": "connect to every alias, and tell what its server is",
    "doctor": "look at an application as its worker would, and say what would cross a fork",
    "ledger": "the table of what tasks have done once: make, show, prune it",
    "lint": "find connections that will cross a fork, in the source",
    "run": "run a program under the guard",
}

#: Exit code of a command whose arguments or settings are wrong, as argparse has it.
WRONG_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: Words after the program's name; None takes those that the process was started with.

    Returns:
        Exit code: 0 for success, 1 for what the command has found or failed at, 2 for wrong arguments or settings.
    """
    parser = argparse.ArgumentParser(prog="taskconn", description="Connections for task workers.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    given = sys.argv[1:] if argv is None else list(argv)
    modules = {}
    for name in given[:1] if given[:1] and given[0] in COMMANDS else COMMANDS:  # one alone: a probe is to be quick
        modules[name] = importlib.import_module(f"{__name__}.{name}")
        modules[name].add_arguments(commands.add_parser(name, help=COMMANDS[name], description=modules[name].__doc__))
    arguments = parser.parse_args(given)
    try:
        exit_code: int = modules[arguments.command].run(arguments)
    except TaskconnError as error:
        print(f"taskconn {arguments.command}: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        return 130
    return exit_code
