"""Both PostgreSQL drivers: where and how they connect: label, socket, certificate, password."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trustme

import taskconn
from examples.servers import PostgreSQL
from taskconn.driver import Driver
from taskconn.errors import ConnectionFailedError, InvalidSettingsError
from taskconn.options import Options
from tests.drivers.postgresql.clients import Make, url_for, value
from tests.drivers.rows import target_of


def test_label_names_alias_and_process(open_: Make) -> None:
    """The server's people see which process a session belongs to, unless a name is given or label is off."""
    asked = "SELECT current_setting('application_name')"

    label = value(open_(alias="a" * 80), asked)
    assert label.startswith("taskconn:aaa")
    assert label.endswith(f":{os.getpid()}")
    assert len(label) == 63
    assert value(open_(query={"application_name": "shop"}), asked) == "shop"
    assert value(open_(options=Options(label=False)), asked) == ""


def test_unix_socket_is_named_by_host(name: str, driver: Driver[Any], open_: Make, tls_server: PostgreSQL) -> None:
    """The folder of the socket is libpq's `host`, and the address in messages."""
    target = target_of(url_for(name, tls_server.unix_url()))
    assert target.address == str(tls_server.folder)

    db = open_(url=url_for(name, tls_server.unix_url()))

    assert value(db, "SELECT inet_server_addr()") is None


def test_part_that_is_given_twice_is_refused(driver: Driver[Any], url: str) -> None:
    """An URL with a host and a parameter `host` names two servers."""
    with pytest.raises(InvalidSettingsError, match="'host' is given twice"):
        driver.validate(target_of(url, query={"host": "/tmp"}))


def test_certificate_is_verified_as_the_url_says(
    name: str, open_: Make, tls_server: PostgreSQL, tmp_path: Path
) -> None:
    """A server that a stranger vouches for is refused, and the error names the host; the right authority is trusted."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    good = url_for(name, tls_server.tls_url())
    assert value(open_(url=good), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

    cars = taskconn.Registry().add("cars", good.replace(str(tls_server.authority_path), str(tmp_path / "stranger.pem")))
    with (
        pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1.*certificate verify failed"),
        taskconn.lease(cars),
    ):
        pass
    cars.registry.close()


def test_wrong_password_names_address_and_alias(url: str) -> None:
    """What only the server can tell is one error, without the password."""
    cars = taskconn.Registry().add("cars", url.replace("s3cret", "hunter2"))

    with pytest.raises(ConnectionFailedError, match=r"'cars' to 127\.0\.0\.1") as caught, taskconn.lease(cars):
        pass

    assert "hunter2" not in str(caught.value)
    cars.registry.close()
