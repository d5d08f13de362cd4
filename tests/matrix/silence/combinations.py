"""Parent's states, child's actions, and which of their combinations can't be had."""

from __future__ import annotations

from tests.drivers.rows import Row
from tests.matrix.families import Family

FORKS = ("os.fork", "multiprocessing", "billiard")
STATES = ("idle", "in a transaction", "in a query in another thread", "lease held")
ACTIONS = (
    "uses it",
    "close()",
    "drops it",
    "sys.exit",
    "os._exit",
    "SIGKILL",
    "rollback()",
    "drops an open cursor",
)

#: What a child calls on its parent's connection.
_BY_HAND = ("uses it", "close()", "rollback()")


def combinations(row: Row, family: Family) -> list[tuple[str, str, str]]:
    """List state, action, and why it can't be had ("" if it can)."""
    return [(state, action, _why_not(row, family, state, action)) for state in STATES for action in ACTIONS]


def _why_not(row: Row, family: Family, state: str, action: str) -> str:
    if action == "drops an open cursor":
        if state == "idle":
            return "an idle connection has no open cursor: the reply was read, or the connection dropped, at give-back"
        if state.startswith("in a query") and not row.asks_while_reading:
            return "the library runs no query while rows of another one are unread"
    if row.is_bare and state.startswith("in a query") and action in _BY_HAND:
        return "it is the client itself, unguarded, whose own lock the parent's thread held at the fork: the call waits"
    return family.impossible.get(action, "")
