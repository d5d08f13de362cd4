"""What identifies an entry of the ledger, and how it is written down for people."""

from __future__ import annotations

import pytest

from taskconn import _ledger
from taskconn._ledger import Entry
from taskconn.errors import LedgerDialectError

pytestmark = pytest.mark.portable


@pytest.mark.parametrize(
    "other",
    [("shop.order", "B"), ("shop.Order", "a"), ("shop.ordera", ""), ("shop.order", "a "), ("shop.order", "\udcff")],
    ids=["case", "name", "boundary", "space", "surrogate"],
)
def test_entries_that_differ_have_different_digests(other: tuple[str, str]) -> None:
    """Neither case, nor a blank, nor where the name ends makes two entries one, whatever a collation would say."""
    assert Entry(*other).digest != Entry("shop.order", "a").digest != Entry("shop.order", "A").digest


def test_digest_has_the_width_of_its_column() -> None:
    """Keys of any length have 64 characters in the table."""
    assert {len(Entry("f", key).digest) for key in ("", "k" * 5000)} == {64}


@pytest.mark.parametrize("text", ["plain", "nul \0", "Škoda 🚗", "\udcff", "x" * 400], ids=range(5))
def test_what_people_read_is_taken_by_every_server(text: str) -> None:
    """Names and keys are written in ASCII without control characters, as much of them as fits."""
    shown = _ledger._shown(text)

    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 255


def test_database_without_sql_is_refused() -> None:
    """A client that has no SQL that taskconn knows is named, and so are those that have."""
    with pytest.raises(LedgerDialectError, match="taskconn knows mysql, postgresql, sqlite"):
        _ledger.statements("oracle", "default")
