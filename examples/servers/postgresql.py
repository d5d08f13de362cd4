"""A PostgreSQL server as the tests ask it, a private one to ask, and a private PgBouncer in front of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import psutil
import psycopg
from psycopg import sql

from ._process import PrivateServer
from ._programs import find_program, unprivileged_user

#: Opens nothing but a private server on this machine.
_USER, _PASSWORD = "taskconn", "s3cret"

#: Debian keeps the server's programs apart, one folder per version.
_PACKAGE = "postgresql"

#: Settings of a server that lives for minutes: little memory, little disk, no waiting for it.
_SMALL_AND_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "128MB",
}


class Backend(NamedTuple):
    """One client's session in ``pg_stat_activity``."""

    id: int
    user: str
    database: str
    state: str
    statement: str
    application_name: str


class PostgreSQLServer:
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
        self.port = parts.port or 5432
        self.user = unquote(parts.username or "postgres")
        self.password = unquote(parts.password or "")

    def url(self, database: str = "postgres") -> str:
        """Return the taskconn URL of *database*, over TCP."""
        return f"postgresql://{quote(self.user)}:{quote(self.password)}@{self.host}:{self.port}/{database}"

    def connect(self, database: str = "postgres", **arguments: Any) -> psycopg.Connection[Any]:
        """Open a plain psycopg connection; *arguments* as psycopg's own."""
        settings = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        return psycopg.connect(**{**settings, "dbname": database, **arguments})

    def query(self, statement: str, arguments: Sequence[Any] = (), *, database: str = "postgres") -> list[Any]:
        """Run one statement on a connection of its own, commit it, and return its rows."""
        with self.connect(database, autocommit=True) as connection:
            cursor = connection.execute(statement, arguments or None)  # type: ignore[arg-type]  # a test's own SQL
            return cursor.fetchall() if cursor.description else []

    def sessions(self, database: str | None = None) -> list[Backend]:
        """List the clients' sessions, of *database* if one is named, without the one that asks."""
        rows = self.query(
            "SELECT pid, usename, datname, coalesce(state, ''), coalesce(query, ''), application_name "
            "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid"
        )
        return [found for found in map(Backend._make, rows) if database is None or found.database == database]

    def kill_session(self, session_id: int) -> None:
        """End a session from the server's side; one that has gone already is fine."""
        self.query("SELECT pg_terminate_backend(%s, 5000)", (session_id,))

    def drop_database(self, name: str) -> None:
        """Drop a database; the server ends the sessions that use it."""
        with self.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


class PostgreSQL(PostgreSQLServer, PrivateServer):
    """
    Run a private PostgreSQL. It refuses to run as root; then it runs as the user that Debian's package makes.

    Args:
        tls: Offer TLS too; `authority_path` is what clients trust.
        settings: More settings, such as ``{"idle_session_timeout": "1s"}``.
    """

    kind = "postgresql"
    stop_signal = signal.SIGINT  # "fast": ends sessions; SIGTERM would wait for them

    def __init__(self, *, tls: bool = False, settings: dict[str, str] | None = None) -> None:
        PrivateServer.__init__(self)
        self.host, self.user, self.password = "127.0.0.1", _USER, _PASSWORD
        self._tls = tls
        self._settings = {**_SMALL_AND_FAST, **(settings or {})}

    @property
    def socket_path(self) -> Path:
        """Path of its Unix socket, which the server names by its port."""
        return self.folder / f".s.PGSQL.{self.port}"

    @property
    def authority_path(self) -> Path:
        """PEM file of the authority that signed the server's certificate."""
        return self.folder / "ca.pem"

    def unix_url(self, database: str = "postgres") -> str:
        """Return the taskconn URL of *database*, over the Unix socket."""
        place = quote(str(self.folder), safe="")
        return f"postgresql://{self.user}:{self.password}@:{self.port}/{database}?host={place}"

    def tls_url(self, database: str = "postgres") -> str:
        """Return the taskconn URL of *database*, over TLS, with the server's certificate verified."""
        return f"{self.url(database)}?sslmode=verify-full&sslrootcert={quote(str(self.authority_path))}"

    def is_answering(self) -> bool:
        """Tell whether a client can log in."""
        try:
            self.connect(connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def prepare(self) -> None:
        """Make the data folder and the account."""
        initdb = _find("initdb")
        self.user_id = unprivileged_user("postgres", "nobody")
        password = self.folder / "password"
        password.write_text(self.password)
        if self._tls:
            from .tls import make_certificates  # noqa: PLC0415 - without TLS no trustme is needed

            make_certificates(self.folder)
        _give(self.folder, self.user_id)
        command = [initdb, "--no-sync", "--encoding=UTF8", "--locale=C", "--auth=md5"]
        command += [f"--username={self.user}", f"--pwfile={password}", f"--pgdata={self.folder / 'data'}"]
        identity = {"user": self.user_id.uid, "group": self.user_id.gid, "extra_groups": []} if self.user_id else {}
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, check=False, **identity
            )
        if done.returncode:
            raise RuntimeError(f"initdb failed. The end of its log:\n{self.log()[-2000:]}")

    def command(self) -> list[str]:
        """Return the server's command line."""
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        if self._tls:
            settings |= {"ssl": "on", "ssl_cert_file": str(self.folder / "server.pem")}
            settings |= {"ssl_key_file": str(self.folder / "server.key")}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [_find("postgres"), "-D", str(self.folder / "data"), *words]

    def pause(self) -> None:
        """Make it silent but alive, with the processes that serve its sessions. All of them have stopped."""
        super().pause()
        left = list(self._processes())
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):  # it had to end, and nobody fetches it now
                process.suspend()
        while any(map(_is_awake, left)):
            pass

    def resume(self) -> None:
        """Let it go on after `pause`."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def kill9(self) -> None:
        """Kill it as a crash would, with the processes that serve its sessions: each has a process group of its own."""
        processes = list(self._processes())
        super().kill9()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, 5)  # the last one lets go of the shared memory

    def _processes(self) -> Iterator[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            head = psutil.Process(self.pid)
            yield head
            yield from head.children(recursive=True)


class PgBouncer(PostgreSQLServer, PrivateServer):
    """
    Run a private PgBouncer in front of a PostgreSQL: two statements of one client may run in two of its sessions.

    Args:
        server: The server behind it.
        pool_mode: ``"transaction"``, ``"session"`` or ``"statement"``.
    """

    kind = "pgbouncer"
    stop_code = 1

    def __init__(self, server: PostgreSQLServer, *, pool_mode: str = "transaction") -> None:
        PrivateServer.__init__(self)
        self.host, self.user, self.password = "127.0.0.1", server.user, server.password
        self._server = server
        self._pool_mode = pool_mode

    def is_answering(self) -> bool:
        """Tell whether a client can log in and ask."""
        try:
            return bool(self.query("SELECT 1"))
        except psycopg.Error:
            return False

    def prepare(self) -> None:
        """Write the list of accounts."""
        _find_pgbouncer()
        self.user_id = unprivileged_user("postgres", "nobody")
        (self.folder / "users.txt").write_text(f'"{self.user}" "{self.password}"\n')
        _give(self.folder, self.user_id)

    def command(self) -> list[str]:
        """Return PgBouncer's command line, and write its settings."""
        settings = {
            "listen_addr": self.host,
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "md5",
            "auth_file": str(self.folder / "users.txt"),
            "pool_mode": self._pool_mode,
            "max_client_conn": "100",
            "default_pool_size": "4",
            "server_round_robin": "1",  # makes the change of sessions sure, not likely
            "ignore_startup_parameters": "extra_float_digits",
        }
        path = self.folder / "pgbouncer.ini"
        lines = ["[databases]", f"* = host={self._server.host} port={self._server.port}", "[pgbouncer]"]
        path.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items()), ""]))
        _give(self.folder, self.user_id)
        return [_find_pgbouncer(), str(path)]


def _is_awake(process: psutil.Process) -> bool:
    try:
        return bool(process.status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE})
    except psutil.NoSuchProcess:
        return False


def _find(name: str) -> str:
    """Find a program of the newest PostgreSQL."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True
    )
    return find_program(name, _PACKAGE, *map(str, versions))


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0.0


def _find_pgbouncer() -> str:
    return find_program("pgbouncer", "pgbouncer")


def _give(folder: Path, user: tuple[int, int] | None) -> None:
    """Give *folder* and the files in it to *user*, if a server is to run as one."""
    if user is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, *user)
