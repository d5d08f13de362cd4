"""A MySQL or MariaDB server as the tests ask it, and a private MariaDB to ask."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import pymysql
import pymysql.constants.ER

from ._process import PrivateServer
from ._programs import find_program

#: Opens nothing but a private server on this machine.
_USER, _PASSWORD = "taskconn", "s3cret"

#: Settings of a server that lives for minutes: little memory, little disk, no waiting for it.
_SMALL_AND_FAST = (
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-use-native-aio=0",  # not there in every container
    "--skip-log-bin",
    "--skip-name-resolve",
)


class Session(NamedTuple):
    """One row of the server's process list; `time_s` is how long it is in its state."""

    id: int
    user: str
    database: str | None
    command: str
    time_s: int
    state: str | None
    statement: str | None


class MySQLServer:
    """
    Ask a server about itself, over a connection of one's own for each question.

    Attributes:
        port: TCP port.
        host: Name or address.
        user: Account that may do everything.
        password: Its password.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 3306
        self.user = unquote(parts.username or "root")
        self.password = unquote(parts.password or "")

    def url(self, database: str = "") -> str:
        """Return the taskconn URL of *database*, over TCP."""
        return f"mysql://{quote(self.user)}:{quote(self.password)}@{self.host}:{self.port}/{database}"

    def connect(self, database: str | None = None, **arguments: Any) -> pymysql.connections.Connection[Any]:
        """Open a plain PyMySQL connection; *arguments* as PyMySQL's own."""
        settings = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        return pymysql.connect(**{**settings, "database": database, **arguments})

    def query(self, sql: str, arguments: Sequence[Any] = (), *, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own, commit it, and return its rows."""
        connection = self.connect(database, autocommit=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, arguments or None)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def status(self, name: str) -> int:
        """Return a global status counter, such as ``"Aborted_clients"``."""
        rows = self.query("SHOW GLOBAL STATUS LIKE %s", (name,))
        if not rows:
            raise LookupError(f"The server has no status variable {name!r}.")
        return int(rows[0][1])

    def sessions(self, database: str | None = None) -> list[Session]:
        """List the clients' sessions, of *database* if one is named, without the one that asks."""
        rows = self.query(
            "SELECT ID, USER, DB, COMMAND, TIME, STATE, INFO FROM information_schema.PROCESSLIST "
            "WHERE ID <> CONNECTION_ID() AND COMMAND <> 'Daemon' AND USER <> 'system user' ORDER BY ID"
        )
        return [found for found in map(Session._make, rows) if database is None or found.database == database]

    def kill_session(self, session_id: int) -> None:
        """End a session from the server's side; one that has gone already is fine."""
        try:
            self.query(f"KILL {int(session_id)}")
        except pymysql.MySQLError as error:
            if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
                raise

    def drop_database(self, name: str) -> None:
        """Drop a database; its sessions are ended first, so that none of their locks is waited for."""
        for found in self.sessions(name):
            self.kill_session(found.id)
        self.query(f"DROP DATABASE IF EXISTS `{name}`")


class MariaDB(MySQLServer, PrivateServer):
    """
    Run a private MariaDB.

    Args:
        tls: Offer TLS too; `authority_path` is what clients trust.
        performance_schema: Count statements per session and more; costs time and memory.
        options: More options for mariadbd, such as ``("--wait-timeout=1",)``.
    """

    kind = "mariadb"

    def __init__(self, *, tls: bool = False, performance_schema: bool = False, options: Sequence[str] = ()) -> None:
        PrivateServer.__init__(self)
        self.host, self.user, self.password = "127.0.0.1", _USER, _PASSWORD
        self._tls = tls
        self._options = [f"--performance-schema={'ON' if performance_schema else 'OFF'}", *options]

    @property
    def authority_path(self) -> Path:
        """PEM file of the authority that signed the server's certificate."""
        return self.folder / "ca.pem"

    def unix_url(self, database: str = "") -> str:
        """Return the taskconn URL of *database*, over the Unix socket."""
        return f"mysql://{self.user}:{self.password}@localhost/{database}?unix_socket={quote(str(self.socket_path))}"

    def tls_url(self, database: str = "") -> str:
        """Return the taskconn URL of *database*, over TLS, with the server's certificate verified."""
        return f"{self.url(database)}?ssl_ca={quote(str(self.authority_path))}&ssl_verify_cert=true"

    def is_answering(self) -> bool:
        """Tell whether a client can log in."""
        try:
            self.connect(connect_timeout=1).close()
        except pymysql.MySQLError:
            return False
        return True

    def prepare(self) -> None:
        """Make the system tables and the account."""
        install = find_program("mariadb-install-db", "mariadb-server-core mariadb-client-core")
        accounts = self.folder / "accounts.sql"
        statements = ["FLUSH PRIVILEGES"]  # without the grant tables no account can be made
        for host in ("%", "localhost"):
            statements.append(f"CREATE USER '{self.user}'@'{host}' IDENTIFIED BY '{self.password}'")
            statements.append(f"GRANT ALL ON *.* TO '{self.user}'@'{host}' WITH GRANT OPTION")
        accounts.write_text("".join(f"{statement};\n" for statement in statements))
        command = [install, "--no-defaults", f"--datadir={self.folder / 'data'}", *_as_user(), *_SMALL_AND_FAST]
        command += [f"--tmpdir={self.folder}"]  # names in /tmp have the pid alone: containers that share it collide
        command += ["--auth-root-authentication-method=normal", "--skip-test-db", f"--extra-file={accounts}"]
        with self.log_path.open("ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(f"mariadb-install-db failed. The end of its log:\n{self.log()[-2000:]}")
        if self._tls:
            from .tls import make_certificates  # noqa: PLC0415 - without TLS no trustme is needed

            make_certificates(self.folder)

    def command(self) -> list[str]:
        """Return mariadbd's command line."""
        return [
            find_program("mariadbd", "mariadb-server-core mariadb-client-core"),
            "--no-defaults",
            *_as_user(),
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",
            f"--socket={self.socket_path}",
            f"--pid-file={self.folder / 'server.pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--max-connections=400",
            "--max-connect-errors=1000000",
            "--log-warnings=2",  # says of each client how it went away
            *_SMALL_AND_FAST,
            *([f"--ssl-{part}={self.folder / file}" for part, file in _TLS_FILES] if self._tls else []),
            *self._options,
        ]


#: mariadbd's options for TLS and the files of `make_certificates`.
_TLS_FILES = (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))


def _as_user() -> list[str]:
    """Return the option without which mariadbd refuses to run as root."""
    return ["--user=root"] if sys.platform != "win32" and os.geteuid() == 0 else []
