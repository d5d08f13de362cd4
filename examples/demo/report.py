"""The report: a picture of the run with its proof, as SVG, or as HTML around it. It loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from .history import History
from .lanes import Lane, lanes
from .proof import Claim

#: What a report's file may end in.
ENDINGS = (".html", ".svg")

_COLOURS = {"Celery": "#3a7d44", "RQ": "#b5482f", "Pool": "#2f5f9e"}
_LABEL_WIDTH, _PLOT_WIDTH, _NOTE_WIDTH = 170, 760, 270
_WIDTH = _LABEL_WIDTH + _PLOT_WIDTH + _NOTE_WIDTH
_LANE, _TOP, _CLAIM = 30, 86, 20

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>taskconn: the demo</title>
<style>body {{ margin: 2rem; background: #fff }} svg {{ max-width: 100%; height: auto }}</style>
{}
</html>
"""


def write(path: Path, history: History, systems: Sequence[str], claims: Sequence[Claim], source: str) -> None:
    """
    Write the report.

    Args:
        path: File; its ending chooses HTML or SVG.
        history: What happened.
        systems: Task systems, in the order of their lanes.
        claims: The proof.
        source: What the proof was read from.
    """
    picture = draw(lanes(history, systems), history.seconds(), claims, source)
    path.write_text(_PAGE.format(picture) if path.suffix == ".html" else picture, encoding="utf-8")


def draw(rows: Sequence[Lane], seconds: float, claims: Sequence[Claim], source: str) -> str:
    """Draw the lanes on a time axis of *seconds*, and the proof below."""
    seconds = max(seconds, 0.001)
    plot_end = _TOP + _LANE * len(rows)
    height = plot_end + 60 + _CLAIM * (len(claims) + 1)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        _text(16, 28, "A connection of its own for every process, one for every task", size=18),
        *_legend(),
        *_axis(seconds, plot_end),
    ]
    for index, lane in enumerate(rows):
        parts += _draw_lane(lane, _TOP + _LANE * index, seconds)
    parts += _proof(claims, source, plot_end + 52)
    return "\n".join([*parts, "</svg>", ""])


def _draw_lane(lane: Lane, top: float, seconds: float) -> list[str]:
    colour = _COLOURS.get(lane.system, "#555")
    parts = [
        _text(_LABEL_WIDTH - 10, top + 19, lane.label, anchor="end"),
        _text(_LABEL_WIDTH + _PLOT_WIDTH + 12, top + 19, lane.note, fill="#666"),
    ]
    # One path for each kind of mark: a thousand work horses are a thousand lines.
    lives = "".join(f"M{_x(start, seconds)} {top + 15}H{_x(end, seconds)}" for start, end in lane.spans)
    parts.append(f'<path d="{lives}" stroke="{colour}" stroke-opacity="0.25" stroke-width="14"/>')
    tasks = "".join(f"M{_x(start, seconds)} {top + 15}h{_length(start, end, seconds)}" for start, end in lane.tasks)
    if tasks:
        parts.append(f'<path d="{tasks}" stroke="{colour}" stroke-width="14"/>')
    forks = "".join(f"M{_x(at, seconds)} {top + 3}v5" for at in lane.forks)
    if forks:
        parts.append(f'<path d="{forks}" stroke="#222" stroke-width="1"/>')
    return [*parts, *(_cross(float(_x(at, seconds)), top + 15) for at in lane.kills)]


def _legend() -> list[str]:
    x, y = _LABEL_WIDTH, 52
    return [
        f'<path d="M{x} {y}h24" stroke="#555" stroke-opacity="0.25" stroke-width="14"/>',
        _text(x + 30, y + 5, "process"),
        f'<path d="M{x + 100} {y}h3m3 0h3m4 0h3" stroke="#555" stroke-width="14"/>',
        _text(x + 126, y + 5, "task, from its start to its commit"),
        f'<path d="M{x + 350} {y - 5}v10" stroke="#222"/>',
        _text(x + 358, y + 5, "fork"),
        _cross(x + 410, y),
        _text(x + 422, y + 5, "SIGKILL in the middle of a transaction"),
    ]


def _axis(seconds: float, bottom: float) -> list[str]:
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300, 3600) if seconds / step <= 12)
    parts = []
    for tick in range(int(seconds / step) + 1):
        x = _x(tick * step, seconds)
        parts.append(f'<path d="M{x} {_TOP - 4}V{bottom}" stroke="#ddd"/>')
        parts.append(_text(float(x), bottom + 16, f"{tick * step:g} s", anchor="middle", fill="#666"))
    return parts


def _proof(claims: Sequence[Claim], source: str, top: float) -> list[str]:
    expected, found = _LABEL_WIDTH + 470, _LABEL_WIDTH + 590
    parts = [
        _text(_LABEL_WIDTH, top, f"The proof, read back from {source}", weight="bold"),
        _text(expected, top, "expected", anchor="end", fill="#666"),
        _text(found, top, "found", anchor="end", fill="#666"),
    ]
    for index, claim in enumerate(claims, start=1):
        y = top + _CLAIM * index
        colour = {"ok": "#3a7d44", "-": "#888"}.get(claim.verdict, "#c00")
        parts += [
            _text(_LABEL_WIDTH, y, claim.text),
            _text(expected, y, f"{claim.expected:,}", anchor="end"),
            _text(found, y, claim.shown, anchor="end"),
            _text(found + 14, y, claim.verdict, fill=colour, weight="bold"),
        ]
    return parts


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", fill: str = "#222", size: int = 13, weight: str = "normal"
) -> str:
    style = f'text-anchor="{anchor}" fill="{fill}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def _cross(x: float, y: float) -> str:
    return f'<path d="M{x - 6:g} {y - 6:g}l12 12m0 -12l-12 12" stroke="#c00" stroke-width="3"/>'


def _x(at: float, seconds: float) -> str:
    return f"{_LABEL_WIDTH + max(at, 0.0) / seconds * _PLOT_WIDTH:.1f}"


def _length(start: float, end: float, seconds: float) -> str:
    """Give a task's length; the shortest is still to be seen."""
    return f"{max((end - start) / seconds * _PLOT_WIDTH, 0.4):.1f}"
