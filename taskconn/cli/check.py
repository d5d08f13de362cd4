"""Connect to every alias, and tell what its server is; with --quick, for readiness probes, only whether it answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import NotConfiguredError
from . import _target

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("aliases", nargs="*", metavar="ALIAS", help="connections to check (default: all)")
    parser.add_argument("--quick", action="store_true", help="one connect and one round trip for each, all at once")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="default: text")
    _target.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check them; 1 if one fails."""
    from ..doctor._check import check  # noqa: PLC0415 -- what is heavy is imported by the command that runs

    registry = _target.choose(arguments).registry
    aliases = arguments.aliases or registry.aliases()
    if not aliases:
        raise NotConfiguredError("default")
    answers = check(registry, aliases, is_quick=arguments.quick)
    if arguments.format == "json":
        import json  # noqa: PLC0415 -- as above

        print(json.dumps([answer.as_dict() for answer in answers], indent=2))
    elif not (sys.stdout.isatty() and _draw(answers)):
        print("\n".join(_lines(answers)))
    return int(not all(answer.is_ok for answer in answers))


def _lines(answers: Sequence[Any]) -> list[str]:
    width = max(len(answer.alias) for answer in answers)
    lines = []
    for answer in answers:
        lines.append(f"{answer.alias:{width}}  {'ok' if answer.is_ok else 'FAILED'}  {_what(answer)}")
        details = "; ".join(_details(answer))
        lines += [f"{'':{width}}      {details}"] if details and answer.is_ok else []
    return lines


def _draw(answers: Sequence[Any]) -> bool:
    """Print a table for a terminal; False where the package rich is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 -- an extra
        from rich.table import Table  # noqa: PLC0415 -- as above
        from rich.text import Text  # noqa: PLC0415 -- as above
    except ImportError:
        return False
    drawn = Table("alias", "", "server", "what it says")
    for answer in answers:
        state = Text("ok", style="green") if answer.is_ok else Text("FAILED", style="bold red")
        details = "\n".join(_details(answer)) if answer.is_ok else ""
        drawn.add_row(Text(answer.alias), state, Text(_what(answer)), Text(details))
    Console().print(drawn)
    return True


def _what(answer: Any) -> str:
    what = " ".join(filter(None, [answer.server, answer.version]))
    where = " at ".join(filter(None, [what, answer.address])) + (f" ({answer.driver})" if answer.driver else "")
    return where if answer.is_ok else f"{where.strip()}: {answer.error}".removeprefix(": ")


def _details(answer: Any) -> list[str]:
    most, used = answer.max_connections, answer.connected
    named = {
        "connect": "" if answer.connect_ms is None else f"{answer.connect_ms} ms",
        "round trip": "" if answer.latency_ms is None else f"{answer.latency_ms} ms",
        "TLS": answer.tls,
        "session": answer.session,
        "max_connections": "" if most is None else f"{most}" + ("" if used is None else f" ({used} in use)"),
        "time zone": answer.time_zone,
        "isolation": answer.isolation,
    }
    return [f"{name} {value}" for name, value in named.items() if value]
