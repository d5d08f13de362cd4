"""The table of drivers: every scheme finds its driver, other packages add some, each refusal says what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from taskconn import Registry, drivers
from taskconn.driver import Driver
from taskconn.drivers import TABLE, DriverRow, load, schemes
from taskconn.errors import DriverNotInstalledError, InvalidSettingsError, UnknownSchemeError

pytestmark = pytest.mark.portable

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that installs a package `acme` with one module and one entry point for a driver."""

    def install(source: str, value: str = "acme_driver:Acme", scheme: str = "acme") -> None:
        (tmp_path / "acme_driver.py").write_text(source)
        info = tmp_path / "acme-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[taskconn.drivers]\n{scheme} = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "acme_driver", raising=False)

    return install


@pytest.fixture
def broken_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that puts a row into the table whose module has the given source and wants the package redis."""

    def put(source: str) -> None:
        (tmp_path / "broken_driver.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "broken_driver", raising=False)
        row = DriverRow("broken_driver", "Broken", "redis", "redis")
        monkeypatch.setattr(drivers, "TABLE", {**TABLE, "broken": row})

    return put


@pytest.mark.parametrize("scheme", list(TABLE))
def test_every_scheme_finds_its_driver(scheme: str) -> None:
    """Each row names a driver that can be imported where its package is installed."""
    package = TABLE[scheme].package
    if package and not list(distributions(name=package)):
        pytest.skip(f"{package} is not installed")

    driver: type[Driver[Any]] = load(scheme, "orders")

    assert issubclass(driver, Driver)
    assert driver.__name__ == TABLE[scheme].attribute


def test_every_extra_installs_its_package() -> None:
    """The extra that an error tells to install is there, and brings the package that was missing."""
    tomllib = pytest.importorskip("tomllib", reason="came with Python 3.11")
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    for row in TABLE.values():
        assert not row.package or any(wanted.startswith(row.package) for wanted in extras[row.extra])


def test_every_row_says_the_oldest_version_that_its_extra_admits() -> None:
    """The table and `pyproject.toml` agree, and the installed package is found to be new enough by what it says."""
    tomllib = pytest.importorskip("tomllib", reason="came with Python 3.11")
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    for row in TABLE.values():
        assert not row.package or f">={row.least}" in {part for wanted in extras[row.extra] for part in _bounds(wanted)}


def _bounds(requirement: str) -> list[str]:
    """Give the bounds of a requirement: ``psycopg[binary]>=3.2.1,<4`` has two."""
    return re.findall(r"[<>=]+[\d.]+", requirement)


@pytest.mark.parametrize("scheme", [scheme for scheme, row in TABLE.items() if row.told_at])
def test_installed_version_that_is_too_old_is_refused(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that checks its settings does not start: the message has both versions, and the command to type."""
    row = TABLE[scheme]
    try:
        load(scheme, "orders")
    except DriverNotInstalledError as error:
        pytest.skip(error.reason)
    module, _, attribute = row.told_at.partition(":")
    assert isinstance(getattr(sys.modules[module], attribute), str)

    monkeypatch.setattr(sys.modules[module], attribute, "0.9.12 (dt dec)")

    reason = rf"version 0\.9\.12 \(dt dec\) is too old: {re.escape(row.least)} is the oldest"
    with pytest.raises(DriverNotInstalledError, match=rf"{reason}(.|\n)*'taskconn\[{row.extra}\]'"):
        load(scheme, "orders")


def test_schemes_are_listed() -> None:
    """The table's schemes are there, in order, without one of the drivers being imported."""
    assert set(TABLE) <= set(schemes())
    assert schemes() == sorted(schemes())


@pytest.mark.parametrize(
    ("scheme", "remedy"),
    [
        ("mysq", r"Did you mean 'mysql'\?"),
        ("mariadb", r"Did you mean 'mysql'\?"),
        ("valkey", r"Did you mean 'redis'\?"),
        ("sqlite3", r"Did you mean 'sqlite'\?"),
        ("https", r"Write one of them, or install a package with a driver for it .*'taskconn.drivers'"),
    ],
)
def test_unknown_scheme_is_refused(scheme: str, remedy: str) -> None:
    """The message lists what there is, and names the nearest."""
    with pytest.raises(UnknownSchemeError, match=rf"'{scheme}'.*\n.*there are: .*mysql.*redis.*\.\n{remedy}"):
        load(scheme, "orders")


def test_missing_package_is_named_with_its_extra(broken_row: Callable[[str], None]) -> None:
    """The message is the command to type; the import's own error is the cause."""
    broken_row("import a_package_that_is_missing")

    with pytest.raises(DriverNotInstalledError, match=r"\nWrite `pip install 'taskconn\[redis\]'`") as caught:
        load("broken", "orders")

    assert "No module named 'a_package_that_is_missing'" in caught.value.reason
    assert isinstance(caught.value.__cause__, ImportError)


def test_package_that_is_not_there_is_told_from_one_that_is_too_old(
    broken_row: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that lacks what the driver imports is named with its version."""
    import importlib.metadata

    broken_row("from string import a_name_of_a_later_version")

    monkeypatch.setattr(importlib.metadata, "version", lambda _: "3.5")
    with pytest.raises(DriverNotInstalledError, match=r"version 3\.5 is too old or broken: cannot import name"):
        load("broken", "orders")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(DriverNotInstalledError, match=r"it is not installed: cannot import name"):
        load("broken", "orders")


def test_fault_in_a_driver_of_our_own_is_not_taken_for_a_missing_package(broken_row: Callable[[str], None]) -> None:
    """An import that fails inside taskconn is a bug, and shows as what it is."""
    broken_row("import taskconn.a_module_that_is_missing")

    with pytest.raises(ModuleNotFoundError, match=r"taskconn\.a_module_that_is_missing"):
        load("broken", "orders")


def test_another_package_adds_a_scheme(package: Callable[..., None]) -> None:
    """An entry point is all that a driver of another package needs."""
    package("from taskconn.driver import Driver\nclass Acme(Driver): package = 'acme'\n")

    assert "acme" in schemes()
    assert load("acme", "orders").__name__ == "Acme"


def test_table_wins_over_another_package(package: Callable[..., None]) -> None:
    """No package can put itself between a user and `sqlite://` by being installed."""
    package("from taskconn.driver import Driver\nclass Acme(Driver): package = 'acme'\n", scheme="sqlite")

    assert load("sqlite", "orders").__name__ == "SQLite"


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("import a_package_that_is_missing", r"can't be imported \(No module.*\)\.\nInstall what 'acme' needs"),
        ("", r"can't be imported \(.*no attribute 'Acme'\)\.\nInstall what 'acme' needs, or another version"),
        ("Acme = print", r"is no taskconn\.driver\.Driver\.\nInstall another version of 'acme'"),
        ("class Acme: pass", r"is no taskconn\.driver\.Driver\.\nInstall another version of 'acme'"),
    ],
    ids=["missing package", "missing class", "function", "other class"],
)
def test_broken_driver_of_another_package_is_refused(package: Callable[..., None], source: str, remedy: str) -> None:
    """The message names the package that offers the driver, for taskconn has no extra for it."""
    package(source)

    with pytest.raises(InvalidSettingsError, match=remedy):
        load("acme", "orders")


def test_reset_that_another_packages_driver_lacks_stops_a_worker(package: Callable[..., None]) -> None:
    """It is refused with the settings, which import no driver by themselves, where a worker checks them."""
    package(
        "from taskconn.driver import Driver\n"
        "from taskconn.testing import FakeDriver\n"
        "class Acme(FakeDriver): reset = Driver.reset\n"
    )
    registry = Registry()
    registry.configure({"orders": {"url": "acme://db", "reset": True}})

    with pytest.raises(InvalidSettingsError, match=r"'orders'(.|\n)*driver Acme can't reset a session"):
        registry.check()
