"""Settings of several aliases, the environment, and passwords that nothing shows."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import random
import string
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from taskconn import config
from taskconn.config import Databases, from_environment, parse, parse_databases
from taskconn.errors import InvalidSettingsError, TaskconnError, UnknownOptionError

pytestmark = pytest.mark.portable

#: One seed for all runs: a failure comes again.
_RANDOM = random.Random(20)
#: What passwords are made of here: all of ASCII, what URLs, JSON and repr treat specially, and other scripts.
_ALPHABET = string.printable.strip() * 2 + "@@::///??##%%''\"\"\\\\ äß日😀"


def _password() -> str:
    """Make up a password that can't be found in a message by chance."""
    return "pW7" + "".join(_RANDOM.choices(_ALPHABET, k=_RANDOM.randint(5, 20)))


def _sayings(thing: object) -> list[str]:
    """Show *thing* in every way that a log, a report or a reporter of errors would."""
    formatter = logging.Formatter("%(message)s")
    record = logging.LogRecord("taskconn", logging.INFO, __file__, 1, "%s %r", (thing, thing), None)
    return [
        repr(thing),
        str(thing),
        f"{thing}",
        pprint.pformat({"a": [thing]}, width=20),
        formatter.format(record),
        json.dumps({"a": thing}, default=lambda value: getattr(value, "__json__", lambda: repr(value))()),
    ]


def _shows(text: str, password: str) -> bool:
    """Tell whether *text* has the password, or the most of it, also as repr, JSON or an URL would write it."""
    spellings = {password, repr(password)[1:-1], json.dumps(password)[1:-1], quote(password, safe=""), password[:6]}
    return any(spelling in text for spelling in spellings)


_SPELLINGS: list[Callable[[str], Any]] = [
    lambda password: f"mysql://app:{quote(password, safe='')}@db/shop",
    lambda password: f"redis://:{quote(password, safe='')}@cache/0?client_name=x",
    lambda password: f"redis://cache/0?password={quote(password, safe='')}",
    lambda password: {"url": "mysql://app@db/shop", "password": password},
    lambda password: {"scheme": "mysql", "host": "db", "password": password, "connect_args": {"passwd": password}},
    lambda password: {"url": "mysql://app@db/shop", "password": lambda: password},
    lambda password: lambda: f"mysql://app:{quote(password, safe='')}@db/shop",
]


@pytest.mark.parametrize("spell", _SPELLINGS, ids=range(len(_SPELLINGS)))
def test_password_is_shown_by_nothing(spell: Callable[[str], Any]) -> None:
    """Settings, what holds them, and what a driver gets hide every password, however it was given."""
    for _ in range(200):
        password = _password()
        value = spell(password)

        settings = parse("orders", value)
        databases = Databases({"orders": value})
        target = settings.target()

        assert password in (target.password, *target.query.values())
        for thing in (settings, settings.location, settings.location.password, databases, target):
            for said in _sayings(thing):
                assert not _shows(said, password), said


@pytest.mark.parametrize(
    "spell",
    [
        lambda password: f"mysql://app:{password}@db/shop",
        lambda password: f"mysql://app:{password}@db:port/shop",
        lambda password: f"app:{password}@db",
        lambda password: {"url": f"mysql://app:{password}@db/shop", "max_age": -1},
        lambda password: {"url": f"mysql://app:{quote(password, safe='')}@db", "password": password},
        lambda password: {"scheme": "mysql", "password": [password]},
        lambda password: {"scheme": "mysql", "password_from": password},
        lambda password: {"scheme": "mysql", "passwort": password},
        lambda password: [password],
    ],
    ids=["raw", "port", "no scheme", "option", "twice", "list", "from", "misspelt", "no setting"],
)
def test_password_is_in_no_error(spell: Callable[[str], Any]) -> None:
    """Whatever an unquoted password makes of an URL: it is refused without being repeated, or taken and hidden."""
    for _ in range(300):
        password = _password()
        value = spell(password)

        try:
            thing: object = parse("orders", value)
        except TaskconnError as error:
            said = [*_sayings(error), *traceback.format_exception(error), repr(error.__context__)]
        else:
            said = _sayings(thing)

        for text in [*said, *_sayings(Databases({"orders": value}))]:
            assert not _shows(text, password), (text, value)


def test_redacted_text_has_no_password() -> None:
    """A driver's own message may repeat an URL: what is left of it after `redact` has no password."""
    for _ in range(1000):
        password = _password()

        text = config.redact(f"can't connect to mysql://app:{password}@db/shop (timed out)")

        assert not _shows(text, password), text
        assert text.endswith("@db/shop (timed out)")


def test_databases_show_addresses() -> None:
    """The repr tells where each alias leads, as far as that is known without asking."""
    databases = Databases(
        {
            "default": "mysql://app:hunter2@db:3307/shop",
            "file": "sqlite:///data.db",
            "late": "vault:url",
            "later": {"url": print, "scheme": "mysql"},
            "broken": "mysql://app:hunter2@db:x/shop",
        }
    )

    assert databases.__json__() == {
        "default": "mysql db:3307",
        "file": "sqlite data.db",
        "late": "callable",
        "later": "mysql callable",
        "broken": "*** (InvalidSettingsError)",
    }
    assert repr(databases) == f"<Databases {databases.__json__()}>"


def test_databases_are_equal_by_content_and_iterate_over_aliases() -> None:
    """The same mapping again is the same; wrapping twice changes nothing."""
    databases = Databases({"default": "mysql://db", "cache": "redis://cache"})

    assert databases == Databases(databases) == Databases(dict(databases.raw))
    assert databases != Databases({"default": "mysql://db"})
    assert databases != databases.raw
    assert (list(databases), len(databases), "cache" in databases) == (["default", "cache"], 2, True)


def test_databases_survive_pickle_and_copy() -> None:
    """A spawned worker gets passwords and options as they were given."""
    databases = Databases({"default": "mysql://app:hunter2@db/shop", "cache": {"url": print, "max_age": 5}})

    assert pickle.loads(pickle.dumps(databases)).raw == databases.raw
    assert copy.deepcopy(databases) == copy.copy(databases) == databases


def test_lambda_is_refused_when_it_is_pickled_not_before() -> None:
    """Under fork nothing is pickled, so a lambda will do; for a spawned worker the message names alias and way out."""
    databases = Databases({"default": "mysql://db", "late": {"url": lambda: "mysql://db"}})

    assert copy.deepcopy(databases) == databases
    assert parse_databases(databases)["late"].target().host == "db"
    with pytest.raises(
        InvalidSettingsError, match=r"'late'.*spawned process.*\nWrite a callable as 'module:attribute'"
    ):
        pickle.dumps(databases)


@pytest.mark.parametrize("databases", ["mysql://app:hunter2@db", None, ["mysql://db"]], ids=["URL", "None", "list"])
def test_settings_that_are_no_mapping_are_refused(databases: Any) -> None:
    """The likely slip, an URL without its alias, is answered with the mapping to write."""
    for function in (Databases, parse_databases):
        with pytest.raises(
            InvalidSettingsError, match=r"mapping of aliases was expected\.\nWrite \{'default': 'mysql://"
        ):
            function(databases)


def test_first_wrong_alias_is_named() -> None:
    """The message says which of several entries is meant."""
    with pytest.raises(
        UnknownOptionError, match=r"Connection 'cache' has an option 'max_ago'(?s:.*)\nDid you mean 'max_age'\?"
    ):
        parse_databases({"default": "mysql://db", "cache": {"url": "redis://cache", "max_ago": 3}})


def test_environment_names_aliases() -> None:
    """``TASKCONN_URL`` is the alias default; what stands before ``_URL`` is an alias, in lower case."""
    found = from_environment(
        {
            "TASKCONN_URL": "mysql://db?max_age=60",
            "TASKCONN_CACHE_URL": "redis://cache/0",
            "TASKCONN_READ_REPLICA_URL": "vault:url",
            "TASKCONN_EMPTY_URL": " ",
            "TASKCONN_CONFIG": "settings",
            "MY_TASKCONN_URL": "mysql://other",
            "DATABASE_URL": "mysql://other",
        }
    )

    assert found == {
        "default": parse("default", "mysql://db?max_age=60"),
        "cache": parse("cache", "redis://cache/0"),
        "read_replica": parse("read_replica", "vault:url"),
    }
    assert from_environment({}) == {}


def test_two_variables_for_one_alias_must_agree() -> None:
    """Both names of the alias default may be set if they say the same."""
    both = {"TASKCONN_URL": "mysql://a:hunter2@db", "TASKCONN_DEFAULT_URL": "mysql://a:hunter2@db"}
    assert list(from_environment(both)) == ["default"]

    with pytest.raises(
        InvalidSettingsError, match=r"different URLs.*\nUnset TASKCONN_URL, or make both the same"
    ) as caught:
        from_environment({**both, "TASKCONN_URL": "mysql://a:hunter2@other"})
    assert "hunter2" not in str(caught.value)


def test_celery_shows_no_password() -> None:
    """``celery report``, ``celery inspect conf`` and the worker's own log of settings show addresses only."""
    celery = pytest.importorskip("celery")
    from celery.app.utils import bugreport
    from celery.utils.saferepr import saferepr
    from celery.utils.serialization import jsonify
    from kombu.utils.json import dumps

    app = celery.Celery(set_as_current=False, broker="memory://")
    app.conf.taskconn_databases = Databases(
        {
            "default": "mysql://app:hunter2@db/shop",
            "cache": {"url": "redis://cache", "password": "hunter2", "connect_args": {"token": "hunter2"}},
        }
    )

    table = app.conf.table(with_defaults=True)
    said = [
        bugreport(app),
        app.conf.humanize(),
        dumps(jsonify(table, unknown_type_filter=saferepr)),
        dumps({"databases": app.conf.taskconn_databases}),
        repr(app.conf),
    ]
    app.close()  # else a lease of a later test may find it to be the one app of its process

    assert not [text for text in said if "hunter2" in text]
    assert all("taskconn_databases" in text or "mysql db" in text for text in said)


def test_configuring_imports_nothing_heavy() -> None:
    """A producer that only configures loads no driver, no task system, no asyncio and no package metadata."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"  # coverage, where it measures subprocesses, has loaded some
        "from taskconn import config\n"
        "config.parse_databases({'a': 'mysql://db', 'b': 'redis://db', 'c': 'sqlite://', 'd': 'vault:url'})\n"
        "heavy = 'asyncio importlib.metadata celery rq pymysql redis sqlite3 vault taskconn.drivers.pymysql'.split()\n"
        "print([name for name in heavy if name in sys.modules and name not in before])\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"
