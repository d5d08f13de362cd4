"""Settings for RQ's workers: ``TASKCONN_DATABASES`` in the module that ``rq worker -c`` names."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from .._guard import ALLOW, MODE
from .._registry import Registry, process_registry

__all__ = ["DATABASES", "command_name", "export", "find", "guard", "load", "names", "registry"]

#: Name in the settings module.
DATABASES = "TASKCONN_DATABASES"

#: Variable that tells the fresh interpreter of a SpawnWorker's horse, or a script, the settings module.
_VARIABLE = "TASKCONN_CONFIG"

#: Modules whose settings this process has taken over, the last of which counts; horses inherit it.
_loaded: list[str] = []


def load(name: str | None = None) -> None:
    """
    Take over the settings module's databases, once. They rank below `taskconn.configure`, above the environment.

    Args:
        name: The module; None is the one that the ``rq`` command line, or the environment, names.

    Raises:
        ImportError: The module can't be imported.
        ConfigurationError: What it says is malformed.
    """
    name = name or _module_name()
    if name is None or _loaded[-1:] == [name]:
        return
    module = importlib.import_module(name)
    process_registry.use_settings(getattr(module, DATABASES, None) or {})
    _loaded.append(name)


def guard() -> tuple[Any, Any]:
    """Give what the settings module says of the guard: its mode, and what may cross; None where it says nothing."""
    module = sys.modules.get(_loaded[-1]) if _loaded else None
    return getattr(module, MODE, None), getattr(module, ALLOW, None)


def export() -> None:
    """Tell a horse that is about to be spawned which module to read."""
    if _loaded:
        os.environ[_VARIABLE] = _loaded[-1]


def find(name: str) -> tuple[str, Any] | None:
    """
    Look up a setting of the worker's own: the settings module wins over the environment, where "" is not set.

    Returns:
        What to call it in a message, and its value; None if it is set nowhere.
    """
    module = sys.modules.get(_loaded[-1]) if _loaded else None
    if hasattr(module, name):
        return f"{name} of {_loaded[-1]}", getattr(module, name)
    value = os.environ.get(name, "").strip()
    return (f"{name} of the environment", value) if value else None


def names(prefix: str) -> set[str]:
    """Name the settings that begin with *prefix*, in the settings module and in the environment."""
    module = sys.modules.get(_loaded[-1]) if _loaded else None
    return {name for name in (*vars(module or object).keys(), *os.environ) if name.startswith(prefix)}


def registry() -> Registry | None:
    """Give the registry for jobs: this process's if a settings module was read; None leaves it to the core."""
    return process_registry if _loaded else None


def command_name() -> str | None:
    """Name the command of ``rq`` that runs, such as ``"worker-pool"``; None in scripts."""
    context = _command()
    return None if context is None else context.command.name


def _module_name() -> str | None:
    """
    Find the settings module: that of the ``rq`` command line, else the one named in the environment.

    Source:
        Experiment with rq 3.0.0: its commands give ``-c``, or RQ_CONFIG, to nobody; the context of click has it,
        in the children of ``rq worker-pool`` too.
    """
    context = _command()
    name = None if context is None else context.params.get("config")
    return name or os.environ.get(_VARIABLE) or os.environ.get("RQ_CONFIG") or None


def _command() -> Any:
    """Give click's context of the ``rq`` command that runs; other programs may have an option ``config`` too."""
    click = sys.modules.get("click")  # a producer has no use for it
    context = None if click is None else click.get_current_context(silent=True)
    module = getattr(context.command.callback, "__module__", "") if context is not None else ""
    return context if module.partition(".")[0] == "rq" else None
