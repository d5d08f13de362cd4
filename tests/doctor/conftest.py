"""Small applications, written to a folder of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.doctor.looks import Write


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give a function that writes modules by name into the current folder, which is the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name in ("TASKCONN_URL", "TASKCONN_GUARD", "TASKCONN_GUARD_ALLOW"):
        monkeypatch.delenv(name, raising=False)

    def written(files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)

    return written
