"""Which settings a command is about: a Celery app's, those of RQ's settings module, a module's, the environment's."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._registry import Registry, process_registry
from ..config import redact
from ..errors import CommandTargetError, TaskconnError

__all__ = ["Chosen", "add_arguments", "choose"]


@dataclass(frozen=True)
class Chosen:
    """
    Say whose settings a command works with.

    Attributes:
        words: What they are, for people: ``"Celery app 'shop'"``, ``"the environment"``.
        registry: Where aliases are looked up, as a worker with these settings does.
        app: The Celery app; None if none was named.
    """

    words: str
    registry: Registry
    app: Any = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name settings, at most one of which is given, to a command's *parser*."""
    group = parser.add_argument_group("settings", "Without any of these: TASKCONN_URL and TASKCONN_<ALIAS>_URL.")
    one = group.add_mutually_exclusive_group()
    one.add_argument("-A", "--app", metavar="APP", help="Celery app, as `celery -A` takes it")
    one.add_argument("-c", "--config", metavar="MODULE", help="settings module, as `rq worker -c` takes it")
    one.add_argument("--module", metavar="MODULE", help="module that calls taskconn.configure(), or module:registry")


def choose(arguments: argparse.Namespace) -> Chosen:
    """
    Import what the command line names, as a worker would, from the current folder too. Opens no connection.

    Raises:
        CommandTargetError: It can't be imported, or is not what its argument says.
        ConfigurationError: Its settings are malformed.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if arguments.app:
        return _importing(arguments.app, _celery_app)
    if arguments.config:
        return _importing(arguments.config, _rq_settings)
    if arguments.module:
        return _importing(arguments.module, _module)
    return Chosen("the environment", process_registry)


def _importing(name: str, load: Any) -> Chosen:
    try:
        chosen: Chosen = load(name)
    except TaskconnError:
        raise
    except Exception as error:  # whatever the user's module raises
        remedy = "Run it from the folder that a worker is started in, and see that the worker itself starts."
        problem = f"it can't be imported ({redact(f'{type(error).__name__}: {error}')})"
        raise CommandTargetError(name, problem, remedy) from error
    return chosen


def _celery_app(name: str) -> Chosen:
    from ..celery import _apps  # noqa: PLC0415 -- only where Celery is used

    app = _apps.load(name)
    return Chosen(f"Celery app {name!r}", _apps.registry_of(app), app)


def _rq_settings(name: str) -> Chosen:
    from ..rq import _settings  # noqa: PLC0415 -- only where RQ is used

    _settings.load(name)
    return Chosen(f"settings module {name!r}", process_registry)


def _module(name: str) -> Chosen:
    path, _, attribute = name.partition(":")
    found: Any = importlib.import_module(path)
    if not attribute:
        return Chosen(f"module {name!r}", process_registry)
    for step in attribute.split("."):
        found = getattr(found, step)
    if not isinstance(found, Registry):
        remedy = "Name a `taskconn.Registry`, or the module alone if it calls `taskconn.configure()`."
        raise CommandTargetError(name, f"it is of type {type(found).__name__}, which is no registry", remedy)
    return Chosen(f"registry {name!r}", found)
