"""URLs taken apart: every form that the documentation names, and every refusal with what it tells the user."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from taskconn._url import Location, Secret, join, redact, settle, split
from taskconn.errors import InvalidSettingsError

pytestmark = pytest.mark.portable


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://db", {"host": "db"}),
        ("MySQL+PyMySQL://db", {"scheme": "mysql+pymysql", "host": "db"}),
        ("mysql://db:3307/", {"host": "db", "port": 3307}),
        ("mysql://app:secret@db/shop", {"host": "db", "user": "app", "password": Secret("secret"), "database": "shop"}),
        ("mysql://a%40b:p%2Fq%3A%23@db/s%20hop", {"user": "a@b", "password": Secret("p/q:#"), "database": "s hop"}),
        ("mysql://app:p@ss:word@db", {"host": "db", "user": "app", "password": Secret("p@ss:word")}),
        ("mysql://app:@db", {"user": "app", "password": None}),
        ("redis://:token@cache/0", {"host": "cache", "user": None, "password": Secret("token"), "database": "0"}),
        ("redis://[::1]:6379/1", {"host": "::1", "port": 6379, "database": "1"}),
        ("mysql://%2Frun%2FMySQL.sock/db", {"host": "/run/MySQL.sock", "database": "db"}),
        ("mysql:///db?unix_socket=/run/my.sock", {"host": None, "query": {"unix_socket": "/run/my.sock"}}),
        (
            "mysql://db/shop?charset=utf8mb4&init_command=SET+x%3D1",
            {"query": {"charset": "utf8mb4", "init_command": "SET x=1"}},
        ),
        ("mysql://db/shop?ssl=", {"query": {"ssl": ""}}),
        ("  mysql://db/shop\n", {"host": "db", "database": "shop"}),
        ("_stub://", {"scheme": "_stub", "host": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_url_is_taken_apart(url: str, expected: dict[str, Any]) -> None:
    """Every part of an URL is found, unquoted; what it does not have is None."""
    location = split("orders", url)

    assert {name: getattr(location, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite://", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite:///rel/data.db", "rel/data.db"),
        ("sqlite:////abs/data.db", "/abs/data.db"),
        ("sqlite:///C:/data.db", "C:/data.db"),
        ("sqlite:///with%20space%23.db", "with space#.db"),
        ("sqlite:///me@home.db", "me@home.db"),
    ],
)
def test_sqlite_url_names_a_file(url: str, expected: str) -> None:
    """Three slashes begin a relative path, four an absolute one; no path is a database in memory."""
    assert settle("orders", split("orders", url)).database == expected


def test_unix_url_names_a_socket_and_a_database_number() -> None:
    """The path of a unix:// URL is the socket's; database and credentials stand beside it."""
    location = settle("cache", split("cache", "unix://app:secret@/run/redis.sock?db=1"))

    assert location.query == {"path": "/run/redis.sock", "db": "1"}
    assert (location.host, location.database, location.user, location.password) == (None, None, "app", Secret("secret"))
    assert location.address == "/run/redis.sock"


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("db/shop", r"no scheme.*\nWrite one such as 'mysql://user:password@host/database'"),
        ("mysql://app:se#cret@db/shop", r"has a '#'.*\nPercent-encode .*quote\(password, safe=''\)"),
        ("mysql://app:se/cret@db/shop", r"has an '@' behind a '/'.*\nPercent-encode .*'password': \.\.\."),
        ("mysql://app:1234?cret@db/shop", r"has an '@' behind a '/' or '\?'.*\nPercent-encode"),
        ("mysql://app:secr[et@db/shop", r"URL can't be read\.\nPercent-encode"),
        ("mysql://app:secret\u2100@db/shop", r"URL can't be read\.\nPercent-encode"),
        ("mysql://app:sec\nret@db/shop", r"a tab or a line break\.\nPercent-encode"),
        ("mysql://app:secret@db:port/shop", r"wrong port: a number from 1 to 65535"),
        ("mysql://app:secret@db:0/shop", r"wrong port: a number from 1 to 65535"),
        ("mysql://app:secret@db:65536/shop", r"wrong port: a number from 1 to 65535"),
        ("mysql://app:secret@db:-1/shop", r"wrong port: a number from 1 to 65535"),
        (
            "redis://app:secret@::1/0",
            r"host that can't be read\.\nWrite an IPv6 address in brackets: 'redis://\[::1\]:6379/0'",
        ),
        ("mysql://app:secret@db/shop?charset", r"query of its URL can't be read\.\nWrite '\?name=value&name=value'"),
        ("mysql://app:secret@db/shop?a=1&a=2", r"parameter 'a' twice\.\nWrite it once"),
    ],
)
def test_unreadable_url_is_refused_without_repeating_it(url: str, remedy: str) -> None:
    """What may be a part of a password is in no message, and in no exception that a traceback would show with it."""
    with pytest.raises(InvalidSettingsError, match=remedy) as caught:
        split("orders", url)

    assert "secr" not in str(caught.value)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("sqlite://data.db", r"sqlite:// URLs have no host\.\n.*'sqlite:///relative.db' or 'sqlite:////absolute.db'"),
        ("unix://redis.sock", r"unix:// URLs have no host\.\n.*'unix:///path/to.sock'"),
        ("unix://", r"names no socket\.\nWrite its path: 'unix:///path/to.sock\?db=0'"),
    ],
)
def test_host_where_a_path_belongs_is_refused(url: str, remedy: str) -> None:
    """A slash too few makes a host of the first part of a path."""
    with pytest.raises(InvalidSettingsError, match=remedy):
        settle("orders", split("orders", url))


def test_parts_beside_an_url_complete_it() -> None:
    """What an URL leaves out may stand beside it."""
    beside = Location(password=Secret("x"), query={"charset": "utf8mb4"})

    location = join("orders", split("orders", "mysql://app@db/shop?ssl=1"), beside)

    assert (location.user, location.password, location.host) == ("app", Secret("x"), "db")
    assert location.query == {"ssl": "1", "charset": "utf8mb4"}


def test_scheme_beside_an_url_chooses_the_driver_only() -> None:
    """``mysql+pymysql`` beside ``mysql://`` is a choice; another scheme is a mistake."""
    url = split("orders", "mysql://db")

    assert join("orders", url, Location("mysql+pymysql")).scheme == "mysql+pymysql"
    with pytest.raises(
        InvalidSettingsError, match=r"starts with 'mysql', and beside it stands scheme='redis'\.\nMake them the same"
    ):
        join("orders", url, Location("redis"))


@pytest.mark.parametrize(
    "beside",
    [Location(host="x"), Location(port=1), Location(user="x"), Location(password=Secret("x")), Location(database="x")],
    ids=["host", "port", "user", "password", "database"],
)
def test_part_given_twice_is_refused(beside: Location) -> None:
    """Nothing is guessed where two places disagree, or might."""
    with pytest.raises(InvalidSettingsError, match=r"given twice\.\nLeave one out"):
        join("orders", split("orders", "mysql://app:secret@db:3306/shop"), beside)


def test_secret_hides_its_text_and_pickles_whole() -> None:
    """A secret shows as three asterisks and is still there on the other side of a pickle."""
    secret = Secret("hunter2")

    assert f"{secret} {secret!r} {[secret]} {secret.__json__()}".count("hunter2") == 0
    assert pickle.loads(pickle.dumps(secret)).value == "hunter2"
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no URL here, 3:4 me@home", "no URL here, 3:4 me@home"),
        ("mysql://db:3306/shop", "mysql://db:3306/shop"),
        ("at mysql://app:hunter2@db/shop, twice", "at mysql://app:***@db/shop, twice"),
        ("redis://:hunter2@cache/0", "redis://:***@cache/0"),
        ("redis://hunter2@cache/0", "redis://***@cache/0"),
        ("mysql://app:hun/t#e@r?2@db/shop", "mysql://app:***@db/shop"),
        ("mysql://app:hunter 2@db/shop", "mysql://app:***@db/shop"),
        ("redis://cache/0?password=hunter2&db=1", "redis://cache/0?password=***&db=1"),
        ("host=db password=hunter2 user=app", "host=db password=*** user=app"),
        ("mysql://a:hunter2@db1\nmysql://b:hunter2@db2", "mysql://a:***@db1\nmysql://b:***@db2"),
    ],
)
def test_text_is_redacted(text: str, expected: str) -> None:
    """Passwords and lone tokens go, whatever they are made of; all else stays readable."""
    assert redact(text) == expected
