"""As `test_silence.py`, for SQLAlchemy: another process can run this file meanwhile."""

from __future__ import annotations

import pytest

from tests.matrix.silence.trial import PATIENCE_S, SQLALCHEMY, ways

pytestmark = pytest.mark.timeout(PATIENCE_S + 60)


@ways(SQLALCHEMY)
def test_child_leaves_its_parents_session_alone(broken: list[str]) -> None:
    """Session, transaction and next answer are the parent's; of the child there was no byte, and no descriptor left."""
    assert broken == []
