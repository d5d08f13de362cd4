"""The values of options: right ones in both spellings, wrong ones refused with what to write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from taskconn._option_values import _KINDS, is_import_name, nearest, options_from
from taskconn._parse import parse
from taskconn.errors import InvalidSettingsError
from taskconn.options import Options

pytestmark = pytest.mark.portable


def test_every_option_has_a_kind() -> None:
    """An option that is added to `Options` needs a row here: what is right, and how it is written."""
    assert list(_KINDS) == list(Options().as_dict())


def test_every_default_is_right() -> None:
    """What `Options` has by itself passes its own check."""
    defaults = Options().as_dict()

    assert options_from("orders", defaults, {}) == Options()


@pytest.mark.parametrize("name", list(Options().as_dict()))
def test_every_option_is_documented_with_its_default(name: str) -> None:
    """docs/configuration.md says of each option what it is when nobody says otherwise."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| [^|]*`{name}`[^|]* \| `?([^|`]+)`? \|", text, re.MULTILINE)

    assert row is not None
    default = getattr(Options(), name)
    assert row[1] == (
        f"{default:g}" if type(default) is float else json.dumps(default) if default == "task" else str(default)
    )


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("max_age", "600", 600.0),
        ("max_age", "none", None),
        ("max_age", "", None),
        ("max_idle", "0.5", 0.5),
        ("jitter", "0.25", 0.25),
        ("max_size", "5", 5),
        ("warm", "true", True),
        ("warm", "1", True),
        ("label", "no", False),
        ("reset", "True", True),
        ("transaction", "none", "none"),
        ("inject", "session", "session"),
        ("check", "app.health:ping", "app.health:ping"),
    ],
)
def test_option_is_read_from_an_url(name: str, text: str, expected: object) -> None:
    """A text in an URL becomes a number, a truth or None."""
    value = getattr(options_from("orders", {}, {name: text}), name)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("max_age", "30", r"'max_age' is '30'\.\nWrite a number of seconds, 0 or more, or None\."),
        ("max_age", -1, r"'max_age' is -1\.\nWrite a number of seconds, 0 or more, or None\."),
        ("max_idle", True, r"'max_idle' is True\.\nWrite a number of seconds"),
        ("health_check_interval", None, r"'health_check_interval' is None\.\nWrite a number of seconds, 0 or more\."),
        ("acquire_timeout", float("inf"), r"'acquire_timeout' is inf\.\nWrite a number of seconds, 0 or more\."),
        ("close_timeout", float("nan"), r"'close_timeout' is nan\.\nWrite a number of seconds, 0 or more\."),
        ("connect_timeout", 0, r"'connect_timeout' is 0\.\nWrite a number of seconds above 0\."),
        ("settle_timeout", -0.1, r"'settle_timeout' is -0\.1\.\nWrite a number of seconds above 0\."),
        ("jitter", 1.1, r"'jitter' is 1\.1\.\nWrite a number from 0 to 1\."),
        ("max_size", 0, r"'max_size' is 0\.\nWrite a whole number, 1 or more, or None\."),
        ("max_size", 2.0, r"'max_size' is 2\.0\.\nWrite a whole number, 1 or more, or None\."),
        ("connect_retry", -1, r"'connect_retry' is -1\.\nWrite a whole number, 0 or more\."),
        ("max_connect_rate", 0, r"'max_connect_rate' is 0\.\nWrite a number per second above 0, or None\."),
        ("warm", 1, r"'warm' is 1\.\nWrite True or False\."),
        ("transaction", "tasks", r"'transaction' is 'tasks'\.\nWrite 'task' or 'none'\."),
        ("inject", "cursor", r"'inject' is 'cursor'\.\nWrite 'session' or 'connection' or 'engine', or None\."),
        ("reset", "yes", r"'reset' is 'yes'\.\nWrite True, False, or a function that gets the connection\."),
        ("connect", "no name", r"'connect' is 'no name'\.\nWrite a function, or its name as 'module:attribute'"),
        ("deadline", [], r"'deadline' is of type list\.\nWrite True or False\."),
        ("label", "x" * 99, r"'label' is 'x{39}…\.\nWrite True or False\."),
    ],
)
def test_wrong_value_is_refused(name: str, value: object, remedy: str) -> None:
    """The message names the option, the value, and what to write instead."""
    with pytest.raises(InvalidSettingsError, match=remedy):
        options_from("orders", {name: value}, {})


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        ("max_age", "10m", r"'max_age' is '10m'\.\nWrite a number of seconds"),
        ("max_age", "-1", r"'max_age' is '-1'\.\nWrite a number of seconds"),
        ("jitter", "nan", r"'jitter' is 'nan'\.\nWrite a number from 0 to 1"),
        ("max_size", "2.5", r"'max_size' is '2\.5'\.\nWrite a whole number, 1 or more, or None"),
        ("warm", "maybe", r"'warm' is 'maybe'\.\nWrite True or False"),
        ("transaction", "", r"'transaction' is ''\.\nWrite 'task' or 'none'"),
    ],
)
def test_wrong_text_in_an_url_is_refused(name: str, text: str, remedy: str) -> None:
    """A text that can't be read is as wrong as an object."""
    with pytest.raises(InvalidSettingsError, match=remedy):
        options_from("orders", {}, {name: text})


def test_option_in_the_url_and_beside_it_is_refused() -> None:
    """Which of the two was meant would be a guess."""
    with pytest.raises(InvalidSettingsError, match=r"'max_age' is given twice\.\nLeave one out"):
        options_from("orders", {"max_age": 60}, {"max_age": "60"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("vault:orders_url", True),
        ("app.vault:Vault.orders_url", True),
        ("mysql://db", False),
        ("db:3306", False),
        ("vault", False),
        ("app:se-cret", False),
        (None, False),
    ],
)
def test_import_name_is_told_from_an_url(value: Any, expected: Any) -> None:
    """``module:attribute`` has one colon between dotted Python names."""
    assert is_import_name(value) is expected


def test_nearest_word_is_named() -> None:
    """A slip of the finger is answered with the word that was meant."""
    assert nearest("defalt", ["default", "cache"]) == "Did you mean 'default'?"
    assert nearest("xyz", ["default", "cache"]) == "Write one of them."


def test_options_show_no_values_of_mappings() -> None:
    """Arguments for an engine may hold a password; of callables nothing is known."""
    given = {"engine_args": {"connect_args": {"password": "s3cret"}, "echo": True}, "reset": print, "max_age": 60}
    options = Options(**given)

    for text in (repr(options), repr(parse("default", "sqlalchemy+sqlite:///shop.db", **given))):
        assert "engine_args=<connect_args, echo>" in text
        assert "reset=callable" in text
        assert "max_age=60" in text
        assert "s3cret" not in text
