"""URL, user and password by callables, or by names of such: asked late, and checked then."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskconn._parse import parse
from taskconn.errors import InvalidSettingsError, UnknownSchemeError

pytestmark = pytest.mark.portable


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a module `vault` that counts how often its functions were asked."""
    path = tmp_path / "vault.py"
    path.write_text(
        "asked = []\n"
        "nothing = 42\n"
        "def url():\n    asked.append('url')\n    return f'mysql://app@db{len(asked)}/shop'\n"
        "def password():\n    asked.append('password')\n    return f'secret{len(asked)}'\n"
        "class Keys:\n    @staticmethod\n    def user():\n        return 'rotating'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "vault", raising=False)
    yield path
    sys.modules.pop("vault", None)


def test_nothing_is_asked_before_the_target(vault: Path) -> None:
    """Configuring imports and calls nothing of the user's; each open asks anew."""
    settings = parse("orders", {"url": "vault:url", "password_from": "vault:password", "user": None})

    assert "vault" not in sys.modules
    assert (settings.scheme, settings.address) == ("", "callable")
    first, second = settings.target(), settings.target()
    assert (first.host, first.password) == ("db1", "secret2")
    assert (second.host, second.password) == ("db3", "secret4")


def test_callables_give_url_user_and_password() -> None:
    """Functions do for each of the three, and so do names of static methods."""
    assert parse("orders", lambda: "mysql://db/shop").target().database == "shop"
    settings = parse("orders", "mysql://db", user=lambda: "app", password=lambda: "secret")
    assert (settings.target().user, settings.target().password) == ("app", "secret")


def test_user_is_asked_by_name(vault: Path) -> None:
    """Attributes of attributes are found."""
    assert parse("orders", "mysql://db", user_from="vault:Keys.user").target().user == "rotating"


def test_scheme_beside_a_callable_chooses_the_driver_without_asking() -> None:
    """A worker's start need not ask for an URL to know which package it needs."""

    def refuse() -> str:
        raise AssertionError

    settings = parse("orders", {"url": refuse, "scheme": "Mysql"})

    assert settings.scheme == "mysql"
    with pytest.raises(AssertionError):
        settings.target()


def test_callable_without_a_scheme_is_asked_for_the_driver() -> None:
    """Without a scheme beside it only the URL itself names the driver."""
    settings = parse("orders", lambda: "nosuch://db")

    with pytest.raises(UnknownSchemeError, match="'nosuch'"):
        settings.driver_class()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        (lambda: None, r"callable for its URL gave None\.\nGive back a string"),
        (lambda: "", r"callable for its URL gave ''\.\nGive back a string"),
        (lambda: ["s3cret"], r"gave an object of type list\.\nGive back a string"),
        (lambda: "app:s3cret@db", r"URL has no scheme"),
        (lambda: "redis://db", r"beside it stands scheme='mysql'\.\nMake them the same"),
        (
            lambda: "mysql://db?max_age=60",
            r"option 'max_age', which is needed before it is asked\.\nWrite it beside the URL",
        ),
        (lambda: "mysql://app:s3cret@db", r"'password' is given twice"),
        (
            "vault:missing",
            r"'vault:missing', which is to give its URL, can't be imported \(.*missing.*\)\.\nWrite 'module:attr",
        ),
        ("nowhere_at_all:url", r"can't be imported \(No module named 'nowhere_at_all'\)\.\nWrite 'module:attribute'"),
        ("vault:nothing", r"'vault:nothing', which is to give its URL, is not callable\.\nName a function"),
    ],
    ids=[
        "none",
        "empty",
        "list",
        "no-scheme",
        "other-scheme",
        "option",
        "password-twice",
        "missing-attribute",
        "missing-module",
        "not-callable",
    ],
)
def test_what_a_callable_gives_is_checked(vault: Path, url: Any, remedy: str) -> None:
    """An URL that comes late is held to the same rules, and named as little."""
    settings = parse("orders", {"url": url, "scheme": "mysql", "password": "s3cret"})

    with pytest.raises(InvalidSettingsError, match=remedy) as caught:
        settings.target()

    assert "s3cret" not in str(caught.value)


def test_error_of_a_callable_goes_through() -> None:
    """What the user's own function raises says more than any wrapping."""
    settings = parse("orders", "mysql://db", password=lambda: {}["PASSWORD"])

    with pytest.raises(KeyError, match="PASSWORD"):
        settings.target()


def test_settings_survive_pickle(vault: Path) -> None:
    """A spawned process gets the same settings, password and names of callables included."""
    settings = parse("orders", {"url": "vault:url", "password": "x", "max_age": 5, "reset": print})

    copy = pickle.loads(pickle.dumps(settings))

    assert copy == settings
    assert copy.target().password == "x"
