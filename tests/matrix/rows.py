"""The rows of the matrix: those of the contract suite."""

from __future__ import annotations

from collections.abc import Mapping

from tests.drivers.rows import ROWS as CONTRACT_ROWS
from tests.drivers.rows import Row

#: Name to row.
ROWS: Mapping[str, Row] = {**CONTRACT_ROWS}
