"""What one task leaves behind, the next one does not see."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from taskconn import Registry
from taskconn._lease import Lease
from taskconn.drivers.callables import ClientError
from tests.drivers.rows import Row
from tests.matrix.families import FAMILIES, Family
from tests.matrix.results import Results
from tests.matrix.rows import IS_FULL, ROWS, pick

#: How the task ends that leaves something behind.
ENDS = ("returns", "raises", "settles by hand")

_TRANSPORTS = ("TCP", "Unix socket", "TLS") if IS_FULL else ("TCP",)
_LEFTOVERS = sorted({name for family in FAMILIES.values() for name in family.leftovers})


class _TaskError(Exception):
    """What a task raises."""


def _run_task(handle: Any, row: Row, name: str, end: str) -> Any:
    """Run the task that leaves *name* behind, and give what it still holds."""
    lease: Lease[Any] = Lease(handle, "a test")
    leftover = FAMILIES[row.family].leftovers[name]
    try:
        with lease as db:
            found = leftover.leave(row, db)
            if end == "settles by hand":
                db.commit()
            if end == "raises":
                raise _TaskError  # noqa: TRY301 - a task that raises
    except _TaskError:
        pass
    except ClientError:  # a client that is in the middle of an answer may refuse to commit
        if (name, end) != ("a half-read reply", "returns"):
            raise
    return found


def _is_seen(handle: Any, row: Row, name: str) -> bool:
    """Tell whether the task that leaves *name* sees it: what can't be seen would be gone in any case."""
    leftover = FAMILIES[row.family].leftovers[name]
    with contextlib.suppress(_TaskError), Lease(handle, "a test") as db:
        kept = leftover.leave(row, db)
        asked = name not in {"a half-read reply", "SUBSCRIBE"}  # a question would read it, or be refused
        is_seen = leftover.is_there(row, db) if asked else row.rest(kept) != []
        del kept
        raise _TaskError
    return is_seen


def _cells() -> list[Any]:
    return [
        pytest.param(row, transport, name, id=f"{row.name}-{transport}-{name}".replace(" ", "-"))
        for row in ROWS.values()
        for transport in (_TRANSPORTS if row.has_server else _TRANSPORTS[:1])
        for name in pick(row, [name for name in _LEFTOVERS if name in FAMILIES[row.family].leftovers])
    ]


def _why_not(row: Row, name: str, end: str) -> str:
    if end != "settles by hand":
        return ""
    if not row.driver.transactional and not row.is_bare:  # whose driver learns it from the client
        return "there is nothing to settle"
    if name == "a half-read reply":
        return "settling by hand while rows are unread is the library's to refuse"
    return ""


@pytest.mark.filterwarnings("ignore:Previous unbuffered result was left incomplete")  # PyMySQL's, and it reads on
@pytest.mark.parametrize(("row", "transport", "name"), _cells())
def test_next_task_does_not_see_it(
    row: Row, family: Family, transport: str, name: str, results: Results, tmp_path: Path
) -> None:
    """Gone with ``reset=True``, however the task ended; transaction, unread reply and autocommit without it, too."""
    broken = []
    with family.relay(transport, tmp_path) as relay:
        registry = Registry()
        url = family.url(row, transport, relay, tmp_path)
        leftover = family.leftovers[name]
        limit_s = 2 if row.is_bare and name == "a half-read reply" else 30  # one that is busy is waited for
        for does_reset in (True, False):
            handle = registry.add("orders", {"url": url, "settle_timeout": limit_s, **row.options}, reset=does_reset)
            with Lease(handle, "a test") as db:
                row.prepare(db)
            assert _is_seen(handle, row, name)
            registry.recycle("orders")
            for end in ENDS:
                case = f"{transport}, {name}, the task {end}, reset={does_reset}"
                why = _why_not(row, name, end) or ("" if does_reset else row.stays.get(name, ""))
                if why or not (does_reset or leftover.always_goes):
                    why = why or "stays unless `reset=True` is asked for, as documented"
                    results.note_impossible(row.name, "Cleanliness", case, why)
                    continue
                kept = _run_task(handle, row, name, end)
                with Lease(handle, "a test") as db:
                    is_there = leftover.is_there(row, db)
                del kept
                registry.recycle("orders")
                results.note(row.name, "Cleanliness", passed=not is_there)
                if is_there:
                    broken.append(case)
        registry.close()
    assert broken == []


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_what_can_not_be_had_is_listed(row: Row, results: Results) -> None:
    """Each kind of leftover is tried, or there is a reason why it can't be."""
    family = FAMILIES[row.family]
    impossible = {name: why for name, why in family.impossible.items() if name in _LEFTOVERS}
    for name, why in impossible.items():
        results.note_impossible(row.name, "Cleanliness", name, why)

    assert sorted([*family.leftovers, *impossible]) == _LEFTOVERS
