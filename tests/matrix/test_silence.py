"""Whatever a child does with its parent's connection, the parent's session is as it was."""

from __future__ import annotations

import pytest

from tests.matrix.silence.trial import OTHERS, PATIENCE_S, ways

pytestmark = pytest.mark.timeout(PATIENCE_S + 60)


@ways(OTHERS)
def test_child_leaves_its_parents_session_alone(broken: list[str]) -> None:
    """Session, transaction and next answer are the parent's; of the child there was no byte, and no descriptor left."""
    assert broken == []
