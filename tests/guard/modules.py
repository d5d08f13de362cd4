"""Modules as users write them, in files of their own."""

from __future__ import annotations

import types
from pathlib import Path


def write_module(path: Path, source: str, *, run: bool = True) -> types.ModuleType:
    """Write a module to *path*, and give it as if it were imported; with ``run=False`` as it is before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    if run:
        exec(compile(source, str(path), "exec"), vars(module))
    return module
