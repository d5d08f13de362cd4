"""What the commands that find something share: their formats, and their exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..doctor._findings import Finding, Severity

__all__ = ["add_arguments", "show"]

_NEVER = "never"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a command's *parser*."""
    parser.add_argument("--format", choices=["text", "json", "sarif", "github"], default="text", help="default: text")
    choices = [*(severity.word for severity in Severity), _NEVER]
    words = "exit with 1 from this severity on (default: %(default)s)"
    parser.add_argument("--fail-on", choices=choices, default=Severity.WARNING.word, help=words)


def show(findings: Sequence[Finding], arguments: argparse.Namespace) -> int:
    """Print *findings*, worst first in a terminal's table, and give the exit code."""
    from ..doctor._output import FORMATS, table  # noqa: PLC0415 -- other commands do without

    text = FORMATS[arguments.format](findings)
    if arguments.format == "text" and sys.stdout.isatty() and (drawn := table(findings)):
        text = drawn
    if text:
        print(text)
    if arguments.fail_on == _NEVER:
        return 0
    limit = Severity[arguments.fail_on.upper()]
    return int(any(finding.rule.severity >= limit for finding in findings))
