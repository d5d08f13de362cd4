"""Look at an application as its worker would: what would cross a fork, what tasks and settings come to, its servers."""

from __future__ import annotations

import argparse
from dataclasses import fields

from . import _findings

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task systems, and what each takes."""
    systems = parser.add_subparsers(dest="system", metavar="SYSTEM", required=True)
    celery = _system(systems, "celery", "a Celery app")
    celery.add_argument("-A", "--app", dest="name", metavar="APP", required=True, help="as `celery -A` takes it")
    celery.add_argument("-P", "--pool", default="", help="as `celery worker -P` takes it; default: the app's setting")
    rq = _system(systems, "rq", "RQ's worker")
    rq.add_argument("-c", "--config", dest="name", metavar="MODULE", default="", help="as `rq worker -c` takes it")
    rq.add_argument("-w", "--worker-class", dest="worker", metavar="CLASS", default="", help="default: rq.Worker")
    rq.add_argument("modules", nargs="*", metavar="MODULE", help="modules with jobs, imported before the fork")
    module = _system(systems, "module", "modules that a program imports before it forks")
    module.add_argument("modules", nargs="+", metavar="MODULE", help="as in `import MODULE`")


def run(arguments: argparse.Namespace) -> int:
    """Look, print what was found; 1 if it is as bad as ``--fail-on`` says."""
    from ..doctor._application import Request  # noqa: PLC0415 -- other commands do without
    from ..doctor._examine import examine  # noqa: PLC0415 -- other commands do without

    named = {field.name: getattr(arguments, field.name) for field in fields(Request) if hasattr(arguments, field.name)}
    request = Request(**named, asks_servers=not arguments.no_connect)
    findings, facts = examine(request, arguments.timeout)
    if arguments.format == "text":
        print(*facts, sep="\n", end="\n\n")
    return _findings.show(sorted(findings, key=lambda one: -one.rule.severity), arguments)


def _system(
    systems: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str
) -> argparse.ArgumentParser:
    parser = systems.add_parser(name, help=words, description=f"Look at {words}.")
    fleet = parser.add_argument_group("fleet", "How many workers there will be, to compare with what servers admit.")
    fleet.add_argument("--hosts", type=int, default=1, metavar="N", help="hosts, with a worker each (1)")
    fleet.add_argument("--processes", type=int, metavar="N", help="processes of a worker (its setting, or 1)")
    fleet.add_argument("--threads", type=int, metavar="N", help="threads of a process (its setting, or 1)")
    parser.add_argument("--no-connect", action="store_true", help="ask no server")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="longest wait, in seconds (60)")
    _findings.add_arguments(parser)
    return parser
