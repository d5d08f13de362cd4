"""What came out, written down: one JSON file and one picture for each table, and RESULTS.md made of all of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil

from .harness import Column, Table

__all__ = ["machine", "record", "section", "write", "write_page"]

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"

#: Packages whose versions matter.
_PACKAGES = (
    "taskconn",
    "PyMySQL",
    "mysqlclient",
    "psycopg",
    "psycopg-pool",
    "redis",
    "SQLAlchemy",
    "DBUtils",
    "Django",
    "celery",
    "rq",
)


def machine() -> str:
    """Describe this machine, and how busy it is now."""
    memory_gb = psutil.virtual_memory().total / 1e9
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{_processor()}, {psutil.cpu_count()} cores, {memory_gb:.0f} GB; load before the run {load}"
    )


def write(table: Table, outcome: dict[str, Any], described: str, *, is_whole: bool = False) -> None:
    """
    Write the outcome of *table* as JSON, and draw it.

    Cases that an earlier run has written and this one has not, or not yet, stay, with what that run said of itself.
    When the run *is_whole* they are no cases of the table's any more.
    """
    from .picture import draw  # noqa: PLC0415 -- a run without a picture needs no plotting library

    RESULTS.mkdir(exist_ok=True)
    kept = record(table, outcome, described)
    path = _path_of(table)
    if path.exists() and not is_whole:
        kept["cases"] = _merged(json.loads(path.read_text(encoding="utf-8")), kept)
    (RESULTS / f"{table.name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{table.name}.svg").write_text(draw(kept), encoding="utf-8")


def record(table: Table, outcome: dict[str, Any], described: str) -> dict[str, Any]:
    """Give all that is kept of one run of *table*."""
    return {
        "name": table.name,
        "title": table.title,
        "text": table.text,
        "columns": [vars(column) for column in table.columns],
        "more_is_better": table.more_is_better,
        "date": time.strftime("%Y-%m-%d"),
        "machine": described,
        "versions": _versions(),
        **outcome,
    }


def _merged(earlier: dict[str, Any], kept: dict[str, Any]) -> list[dict[str, Any]]:
    """Put the cases of *kept* in the place of those of the same name in an *earlier* record; new ones come last."""
    run = {key: earlier[key] for key in _RUN}
    cases = {case["name"]: {"run": run, **case} for case in earlier["cases"]}
    cases.update({case["name"]: case for case in kept["cases"]})
    return [
        {key: value for key, value in case.items() if key != "run" or value != _run_of(kept)} for case in cases.values()
    ]


def _run_of(kept: dict[str, Any]) -> dict[str, Any]:
    return {key: kept[key] for key in _RUN}


#: What is said of a run, in its record; in a case's own ``run`` where that was another one.
_RUN = ("date", "rounds", "machine", "versions")


def write_page(tables: list[Table]) -> Path:
    """Make RESULTS.md of what was written for *tables*, now or earlier."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in map(_path_of, tables) if path.exists()]
    page = FOLDER / "RESULTS.md"
    page.write_text("\n".join([_HEAD, *map(section, records)]).rstrip() + "\n", encoding="utf-8")
    return page


_HEAD = """# What taskconn costs

Made by `make bench`; how to read it: [README.md](README.md). All contenders of one table took turns in the same run.
A figure is the median of its rounds; *ratio* is the median, over the rounds, of a contender's figure through that of
the first row in the same round, so it says more than the figure does on a machine that others use too.
"""


def section(kept: dict[str, Any]) -> str:
    """Write one table in Markdown."""
    title, columns = kept["title"], [Column(**column) for column in kept["columns"]]
    lines = [f"## {title}", "", kept["text"].strip(), "", f"![{title}](results/{kept['name']}.svg)", ""]
    lines += _pairs(kept, columns) if _is_of_pairs(kept) else _cases(kept, columns)
    others: dict[str, list[str]] = {}
    for case in kept["cases"]:
        if "run" in case:
            others.setdefault(_words_of(case["run"]), []).append(case["name"])
    for words, names in others.items():
        lines += [f"{'; '.join(names)}: {words}", ""]
    lines += [f"{'All others: ' if others else ''}{_words_of(kept)}", ""]
    return "\n".join(lines)


def _words_of(run: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return f"{run['date']}, {run['rounds']} rounds. {run['machine']}. {versions}."


def _is_of_pairs(kept: dict[str, Any]) -> bool:
    """Tell whether each case has the same two contenders, so that they fit side by side."""
    return len(kept["cases"]) > 2 and {len(case["rows"]) for case in kept["cases"]} == {2}


def _pairs(kept: dict[str, Any], columns: list[Column]) -> list[str]:
    names = [row["name"] for row in kept["cases"][0]["rows"]]
    headings = [f"{name}, {column.heading}" for name in names for column in columns]
    lines = [f"| | {' | '.join([*headings, 'ratio'])} |", f"|---|{'---:|' * (len(headings) + 1)}"]
    for case in kept["cases"]:
        cells = [_shown(row["figures"].get(column.key), column.digits) for row in case["rows"] for column in columns]
        lines.append(f"| {' | '.join([case['name'], *cells, _shown(case['rows'][1]['ratio'], 2)])} |")
    return [*lines, ""]


def _cases(kept: dict[str, Any], columns: list[Column]) -> list[str]:
    lines = []
    for case in kept["cases"]:
        shown = [
            column for column in columns if any(row["figures"].get(column.key) is not None for row in case["rows"])
        ]
        headings = [case["name"], *(column.heading for column in shown), "ratio"]
        lines += [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(shown) + 1)}"]
        for row in case["rows"]:
            cells = [_shown(row["figures"].get(column.key), column.digits) for column in shown]
            lines.append(f"| {' | '.join([row['name'], *cells, _shown(row['ratio'], 2)])} |")
        lines.append("")
    return lines


def _path_of(table: Table) -> Path:
    return RESULTS / f"{table.name}.json"


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
