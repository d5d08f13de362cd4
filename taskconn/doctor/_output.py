"""How findings are shown: as text, as a table in a terminal, as JSON, SARIF, or GitHub's annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ._findings import RULES, Finding, Severity

__all__ = ["FORMATS", "summary", "table"]

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def summary(findings: Sequence[Finding]) -> str:
    """Count *findings* in a sentence."""
    if not findings:
        return "Nothing was found."
    counts = Counter(finding.rule.severity for finding in findings)
    words = [f"{counts[severity]} {severity.word}{'s' * (counts[severity] > 1)}" for severity in sorted(counts)[::-1]]
    return f"Found: {', '.join(words)}."


def _text(findings: Sequence[Finding]) -> str:
    lines = []
    for finding in findings:
        rule = finding.rule
        place = f"{finding.place}:{finding.column}: " if finding.line else f"{finding.path}: " if finding.path else ""
        lines.append(f"{place}{rule.code} {rule.severity.word}: {finding.message}")
        lines.append(f"    {rule.why}\n    {rule.remedy} ({rule.link})")
    return "\n".join([*lines, summary(findings)])


def table(findings: Sequence[Finding]) -> str:
    """Draw *findings* as a table for a terminal, worst first; "" where the package rich is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 -- an extra
        from rich.table import Table  # noqa: PLC0415 -- as above
        from rich.text import Text  # noqa: PLC0415 -- as above
    except ImportError:
        return ""
    if not findings:
        return summary(findings)
    drawn = Table(show_lines=True)
    for heading in ("code", "where", "what, why, and what to write"):
        drawn.add_column(heading, overflow="fold")
    for finding in sorted(findings, key=lambda finding: -finding.rule.severity):
        rule = finding.rule
        code = Text(f"{rule.code}\n{rule.severity.word}", style=_STYLES[rule.severity])
        words = Text.assemble(finding.message, "\n", (rule.why, "dim"), "\n", rule.remedy, "\n", (rule.link, "dim"))
        drawn.add_row(code, Text(finding.place), words)
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
        console.print(summary(findings))
    return captured.get().rstrip("\n")


def _json(findings: Sequence[Finding]) -> str:
    rows = [
        {
            "code": finding.rule.code,
            "severity": finding.rule.severity.word,
            "path": finding.path,
            "line": finding.line,
            "column": finding.column,
            "message": finding.message,
            "why": finding.rule.why,
            "remedy": finding.rule.remedy,
            "docs": finding.rule.link,
        }
        for finding in findings
    ]
    return json.dumps(rows, indent=2)


def _sarif(findings: Sequence[Finding]) -> str:
    rules = [
        {
            "id": rule.code,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "help": {"text": f"{rule.remedy} See {rule.link}."},
            "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        }
        for rule in RULES.values()
    ]
    tool = {"driver": {"name": "taskconn", "version": version("taskconn"), "rules": rules}}
    run = {"tool": tool, "results": [_sarif_result(finding) for finding in findings], "columnKind": "unicodeCodePoints"}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_result(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    result: dict[str, Any] = {
        "ruleId": rule.code,
        "level": _LEVELS[rule.severity],
        "message": {"text": finding.message},
    }
    if finding.path:
        place: dict[str, Any] = {"artifactLocation": {"uri": finding.path.replace("\\", "/")}}
        if finding.line:
            place["region"] = {"startLine": finding.line, "startColumn": finding.column}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _github(findings: Sequence[Finding]) -> str:
    lines = []
    for finding in findings:
        rule = finding.rule
        properties = {"title": f"{rule.code} {rule.title}"}
        if finding.path:
            properties = {"file": finding.path, "line": str(finding.line or 1), "col": str(finding.column)} | properties
        named = ",".join(f"{name}={_escape(value, in_property=True)}" for name, value in properties.items())
        words = f"{finding.message}. {rule.why} {rule.remedy}"
        lines.append(f"::{_COMMANDS[rule.severity]} {named}::{_escape(words)}")
    return "\n".join(lines)


def _escape(text: str, *, in_property: bool = False) -> str:
    """
    Write *text* so that GitHub reads it back.

    Source:
        actions/toolkit, packages/core/src/command.ts, `escapeData` and `escapeProperty`.
    """
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), *([(":", "%3A"), (",", "%2C")] if in_property else [])]
    for character, written in pairs:
        text = text.replace(character, written)
    return text


#: Format -> what writes it.
FORMATS: Mapping[str, Callable[[Sequence[Finding]], str]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
}
