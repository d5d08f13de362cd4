"""From what people write for one alias to what a driver gets, with every refusal on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskconn._parse import parse
from taskconn.errors import InvalidSettingsError, UnknownOptionError
from taskconn.options import Options

pytestmark = pytest.mark.portable


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


def test_settings_show_what_differs_from_the_defaults() -> None:
    """The repr helps to find a mistake, and holds no secret."""
    settings = parse("orders", {"url": "mysql://app:x@db:3307/shop", "max_age": None, "reset": print, "jitter": 0.1})

    assert repr(settings) == "<Settings 'orders' mysql db:3307 max_age=None reset=callable>"
    assert repr(parse("orders", print)) == "<Settings 'orders' callable>"
    assert repr(parse("orders", "mysql:///shop?unix_socket=/run/my.sock")) == "<Settings 'orders' mysql /run/my.sock>"
