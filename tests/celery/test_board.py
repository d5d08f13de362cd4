"""The board in shared memory on which children count."""

from __future__ import annotations

import os
from pathlib import Path

from taskconn.celery._board import _ROWS, _SLOTS, Board, Slot
from taskconn.testing import in_forked_child


def test_slots_are_added_up() -> None:
    """Each child writes to its own slot, and the worker reads the sum."""
    board = Board()

    Slot(board, 0).write({"default": {"opens": 1, "open": 1}})
    Slot(board, 7).write({"default": {"opens": 2, "open": 1}, "cache": {"leases": 5}})

    total = board.total()
    assert (total["default"]["opens"], total["default"]["open"], total["cache"]["leases"]) == (3, 2, 5)


def test_replacement_goes_on_where_the_other_one_ended() -> None:
    """Totals survive a child; what was open in it does not."""
    board = Board()
    Slot(board, 3).write({"default": {"opens": 4, "open": 1}})

    replacement = Slot(board, 3)
    replacement.write({})
    assert (board.total()["default"]["opens"], board.total()["default"]["open"]) == (4, 0)
    replacement.write({"default": {"opens": 1, "open": 1}})
    replacement.write({"default": {"opens": 2, "open": 1}})

    assert (board.total()["default"]["opens"], board.total()["default"]["open"]) == (6, 1)


def test_forked_child_writes_where_its_parent_reads() -> None:
    """A board without a name is shared by fork, and leaves no file."""
    board = Board()

    in_forked_child(lambda: Slot(board, 1).write({"default": {"leases": os.getppid() and 9}}))

    assert board.path is None
    assert board.total()["default"]["leases"] == 9


def test_named_board_is_opened_by_its_name() -> None:
    """A spawned child opens the board by its name; the worker removes the file."""
    board = Board.make_named()
    assert board.path is not None

    Slot(Board.open(board.path), 1).write({"default": {"leases": 9}})

    assert board.total()["default"]["leases"] == 9
    board.remove()
    assert not Path(board.path).exists()


def test_what_has_no_room_is_not_counted() -> None:
    """More children than slots, or more aliases than rows, are left out, and nothing is overwritten."""
    board = Board()

    Slot(board, _SLOTS).write({"default": {"opens": 1}})
    Slot(board, 0).write({f"alias-{number}": {"opens": 1} for number in range(_ROWS + 5)})

    assert len(board.total()) == _ROWS
