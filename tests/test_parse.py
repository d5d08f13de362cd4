"""From what people write for one alias to what a driver gets, with every refusal on the way."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskconn._parse import parse
from taskconn.errors import InvalidSettingsError, UnknownOptionError, UnknownSchemeError
from taskconn.options import Options

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


def test_url_becomes_a_target() -> None:
    """A driver gets the parts unquoted, its own arguments as strings, and the options of taskconn apart from them."""
    settings = parse("orders", "mysql://app:s%40cret@db:3307/shop?charset=utf8mb4&max_age=60&warm=yes")

    target = settings.target()

    assert (target.alias, target.scheme, target.host, target.port) == ("orders", "mysql", "db", 3307)
    assert (target.user, target.password, target.database) == ("app", "s@cret", "shop")
    assert target.query == {"charset": "utf8mb4"}
    assert target.options == settings.options == Options(max_age=60.0, warm=True)


def test_mapping_of_parts_becomes_a_target() -> None:
    """A literal password is taken as it stands: nothing in it is decoded, and a colon means nothing."""
    settings = parse(
        "orders",
        {
            "driver": "mysql+pymysql",
            "host": "db",
            "port": "3307",
            "user": "app",
            "password": "vault:p%40ss/#?",
            "database": "shop",
            "query": {"charset": "utf8mb4", "local_infile": True, "read_timeout": 3},
            "connect_args": {"ssl": object},
            "max_age": 60,
        },
    )

    target = settings.target()

    assert (target.scheme, target.host, target.port, target.user) == ("mysql+pymysql", "db", 3307, "app")
    assert target.password == "vault:p%40ss/#?"
    assert target.query == {"charset": "utf8mb4", "local_infile": "true", "read_timeout": "3"}
    assert target.connect_args == {"ssl": object}
    assert target.options.max_age == 60


@pytest.mark.parametrize(
    ("value", "database"),
    [
        ({"scheme": "sqlite", "database": Path("data.db")}, "data.db"),
        ({"scheme": "sqlite"}, ":memory:"),
        ({"url": "sqlite://", "database": "data.db"}, "data.db"),
        ({"scheme": "redis", "host": "cache", "database": 0}, "0"),
    ],
    ids=["path", "memory", "beside an URL", "number"],
)
def test_database_is_a_path_a_number_or_a_name(value: dict[str, Any], database: str) -> None:
    """What people naturally write for a database arrives as a string."""
    assert parse("orders", value).target().database == database


def test_unix_scheme_takes_its_path_from_the_database_of_a_mapping() -> None:
    """Parts say the same as the URL ``unix:///run/redis.sock``."""
    settings = parse("cache", {"scheme": "unix", "database": "/run/redis.sock", "query": {"db": 1}})

    assert settings.target().query == {"path": "/run/redis.sock", "db": "1"}
    assert settings.location == parse("cache", "unix:///run/redis.sock?db=1").location


def test_keywords_win_over_a_mapping() -> None:
    """``add(alias, mapping, max_age=...)`` means the keyword."""
    assert parse("orders", {"url": "mysql://db", "max_age": 1}, max_age=2).options.max_age == 2


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
    ("value", "remedy"),
    [
        (None, r"URL is None\.\n.*from the environment, set the variable"),
        (42, r"URL is of type int\.\nWrite an URL, a callable that gives one"),
        ("app:s3cret@db", r"neither 'scheme://\.\.\.' nor 'module:attribute'\.\nWrite one such as 'mysql://"),
        ({}, r"neither 'url' nor 'scheme'\.\nWrite \{'url': 'mysql://user:password@host/database'\}"),
        ({"host": "db"}, r"neither 'url' nor 'scheme'"),
        ({"scheme": "mysql", "driver": "mysql"}, r"two names of one setting\.\nLeave one of them out"),
        ({"scheme": "mysql", "port": "3306x"}, r"'port' is wrong\.\nWrite a whole number from 1 to 65535"),
        ({"scheme": "mysql", "port": 0}, r"'port' is wrong\.\nWrite a whole number from 1 to 65535"),
        ({"scheme": "mysql", "port": True}, r"'port' is wrong"),
        ({"scheme": "mysql", "host": 1}, r"'host' is of type int\.\nWrite a string"),
        ({"scheme": "mysql", "password": b"s3cret"}, r"'password' is of type bytes\.\nWrite a string"),
        ({"scheme": "mysql", "password": 0}, r"'password' is of type int\.\nWrite a string"),
        ({"scheme": "mysql", "query": "a=s3cret"}, r"'query' is no mapping of names\.\nWrite query="),
        ({"scheme": "mysql", "query": {"a": object}}, r"'a' is of type type\.\nWrite a string"),
        ({"scheme": "mysql", "connect_args": {1: 2}}, r"'connect_args' is no mapping of names\.\nWrite connect_args="),
        ({"scheme": "mysql", "password_from": "s3cret"}, r"'password_from' is neither\.\n.*stands in 'password'"),
        ({"scheme": "mysql", "password": len, "password_from": len}, r"'password_from' are both given\.\nLeave one"),
        (
            {"scheme": "mysql", "password": "s3cret", "password_from": len},
            r"'password' is given twice\.\nLeave one out",
        ),
        ({"url": "mysql://app:s3cret@db", "password": "s3cret"}, r"'password' is given twice\.\nLeave one out"),
        ({"url": "mysql://app:s3cret@db", "password": len}, r"'password' is given twice\.\nLeave one out"),
        ({"url": "mysql://db?max_age=1", "max_age": 1}, r"'max_age' is given twice\.\nLeave one out"),
        ({"url": "mysql://db?a=1", "query": {"a": "1"}}, r"'a' is given twice\.\nLeave one out"),
        ({"url": "mysql://db", "scheme": "redis"}, r"beside it stands scheme='redis'\.\nMake them the same"),
        ({"scheme": "sqlite", "host": "db"}, r"sqlite:// URLs have no host\.\n.*three slashes"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(value: Any, remedy: str) -> None:
    """Each refusal says what to write, and repeats no password."""
    with pytest.raises(InvalidSettingsError, match=remedy) as caught:
        parse("orders", value)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("alias", ["", None, 3])
def test_alias_is_a_text(alias: Any) -> None:
    """A connection has a name that can be said."""
    with pytest.raises(InvalidSettingsError, match="Name it by a string such as 'default'"):
        parse(alias, "mysql://db")


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("max_ages", r"\nDid you mean 'max_age'\?"),
        ("username", r"\nDid you mean 'user'\?"),
        ("Pool_Size", r"\nDid you mean 'max_size'\?"),
        ("charset", r"\nWrite one of them\. Arguments of the client library go into `connect_args="),
    ],
)
def test_unknown_option_is_refused(option: str, nearest: str) -> None:
    """The message lists what there is, and names the nearest."""
    with pytest.raises(UnknownOptionError, match=r"there are: url, scheme, .*max_age.*" + nearest) as caught:
        parse("orders", {"url": "mysql://db", option: 1})

    assert (caught.value.alias, caught.value.option) == ("orders", option)


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


def test_same_settings_are_equal() -> None:
    """The same again is recognised whichever way it was written; another password, or callable, is not the same."""
    settings = parse("orders", "mysql://app:x@db/shop?max_age=60")
    mapping = {"scheme": "mysql", "host": "db", "user": "app", "password": "x", "database": "shop", "max_age": 60}

    assert settings == parse("orders", mapping)
    assert settings != parse("orders", {**mapping, "password": "y"})
    assert settings != parse("other", mapping)
    assert parse("orders", len) == parse("orders", len)
    assert parse("orders", len) != parse("orders", repr)


def test_settings_do_not_follow_later_changes_of_what_was_given() -> None:
    """A mapping that is changed after parsing, or in a target, changes nothing."""
    given = {"url": "mysql://db", "connect_args": {"a": 1}, "query": {"b": "2"}}
    settings = parse("orders", given)

    given["connect_args"]["a"] = 9  # type: ignore[index]
    settings.target().query.clear()  # type: ignore[attr-defined]

    assert settings.target().connect_args == {"a": 1}
    assert settings.target().query == {"b": "2"}


def test_settings_survive_pickle(vault: Path) -> None:
    """A spawned process gets the same settings, password and names of callables included."""
    settings = parse("orders", {"url": "vault:url", "password": "x", "max_age": 5, "reset": print})

    copy = pickle.loads(pickle.dumps(settings))

    assert copy == settings
    assert copy.target().password == "x"


def test_settings_show_what_differs_from_the_defaults() -> None:
    """The repr helps to find a mistake, and holds no secret."""
    settings = parse("orders", {"url": "mysql://app:x@db:3307/shop", "max_age": None, "reset": print, "jitter": 0.1})

    assert repr(settings) == "<Settings 'orders' mysql db:3307 max_age=None reset=callable>"
    assert repr(parse("orders", print)) == "<Settings 'orders' callable>"
    assert repr(parse("orders", "mysql:///shop?unix_socket=/run/my.sock")) == "<Settings 'orders' mysql /run/my.sock>"
