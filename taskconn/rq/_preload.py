"""Modules that are imported before the fork, so that no work horse has to."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from ..errors import WorkerSettingError
from . import _settings

__all__ = ["PRELOAD", "preload"]

#: Name of the setting: in the settings module a list, or one name; in the environment names between commas.
PRELOAD = "TASKCONN_PRELOAD"


def preload(given: Iterable[str] | str | None, by_class: Iterable[str] | str) -> None:
    """
    Import what a worker's jobs need, in the worker.

    Args:
        given: Names of modules that were passed to the worker; None looks for the setting.
        by_class: Names for the case that there is no setting either.

    Raises:
        WorkerSettingError: One of them can't be imported, or is no name.
    """
    setting, names = ("preload", given) if given is not None else _settings.find(PRELOAD) or ("preload", by_class)
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    try:
        wanted = list(names)
    except TypeError:
        raise WorkerSettingError(setting, f"{names!r} is no list", "Write the names of modules.") from None
    for name in wanted:
        _import(setting, name)


def _import(setting: str, name: object) -> None:
    if not isinstance(name, str):
        raise WorkerSettingError(setting, f"{name!r} is no name of a module", 'Write it in quotes: "shop.jobs".')
    try:
        importlib.import_module(name)
    except Exception as error:
        problem = f"{name!r} can't be imported ({type(error).__name__}: {error})"
        raise WorkerSettingError(
            setting, problem, "Jobs of that module would fail in every work horse: mend it, or take it from the list."
        ) from error
