from __future__ import annotations

import contextlib
import os
import shutil
import signal
import textwrap
import time
from collections.abc import Callable

import psutil
import psycopg
import pymysql
import pytest
import redis

from examples.servers import MariaDB, PgBouncer, PostgreSQL, Redis, ServerMissingError
from tests.support.process import Script


def test_mariadb_answers_over_tcp_unix_socket_and_tls() -> None:
    """A private MariaDB is reached in all three ways, each with the account of its URL."""
    with MariaDB(tls=True) as server:
        ways = [
            {"ssl_disabled": True},
            {"ssl_disabled": True, "unix_socket": str(server.socket_path)},
            {"ssl_ca": str(server.authority_path), "ssl_verify_identity": True},
        ]
        ciphers = []
        for way in ways:
            connection = server.connect(**way)
            with connection.cursor() as cursor:
                cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
                ciphers.append(cursor.fetchone()[1])
            connection.close()

        assert [bool(cipher) for cipher in ciphers] == [False, False, True]


def test_mariadb_is_found_again_after_kill_and_restart(private_mariadb: MariaDB) -> None:
    """What was committed survives a crash of the private server and its restart, on the same port."""
    private_mariadb.query("CREATE DATABASE shop")
    before = private_mariadb.url()

    private_mariadb.kill9()
    with pytest.raises(pymysql.OperationalError, match="Can't connect"):
        private_mariadb.query("SELECT 1")
    private_mariadb.start()
    private_mariadb.restart()

    assert private_mariadb.url() == before
    assert ("shop",) in private_mariadb.query("SHOW DATABASES")


def test_paused_mariadb_is_silent_until_it_goes_on(private_mariadb: MariaDB) -> None:
    """A paused server still accepts connections but says nothing; resumed, it answers."""
    private_mariadb.pause()
    with pytest.raises(pymysql.OperationalError, match="timed out"):
        private_mariadb.connect(connect_timeout=1, read_timeout=1)
    private_mariadb.resume()

    assert private_mariadb.query("SELECT 1") == [(1,)]


def test_sessions_and_aborted_clients_are_counted_at_the_server(private_mariadb: MariaDB) -> None:
    """The server's own view tells a polite goodbye from a dropped connection."""
    polite, rude = private_mariadb.connect(), private_mariadb.connect()
    assert [found.id for found in private_mariadb.sessions()] == [polite.thread_id(), rude.thread_id()]

    polite.close()
    rude._sock.close()
    rude._rfile.close()
    rude._force_close()
    _until(lambda: not private_mariadb.sessions())

    assert private_mariadb.status("Aborted_clients") == 1


def test_redis_answers_over_tcp_unix_socket_and_tls() -> None:
    """A private Redis is reached in all three ways."""
    with Redis(tls=True) as server:
        for url in (server.url(3), server.unix_url(3), server.tls_url(3)):
            with redis.Redis.from_url(url) as client:
                assert client.incr("seen")

        assert server.query("GET", "seen", db=3) == b"3"
        assert server.sessions() == []


def test_stopped_server_leaves_no_process_and_no_folder() -> None:
    """A private server leaves nothing behind, even when it is paused as it is stopped."""
    with Redis() as server:
        pid, folder = server.pid, server.folder
        server.pause()

    assert not psutil.pid_exists(pid)
    assert not folder.exists()
    server.stop()


def test_inherited_server_is_left_alone_by_a_child(private_redis: Redis) -> None:
    """A forked child that stops the server, or ends normally, does not end its parent's server."""
    child = os.fork()
    if child == 0:
        private_redis.stop()
        os._exit(0)
    os.waitpid(child, 0)

    assert private_redis.query("PING") is True


def test_server_dies_with_the_process_that_started_it(script: Callable[..., Script]) -> None:
    """SIGKILL leaves no time to clean up: the kernel ends the private server all the same."""
    owner = script(
        textwrap.dedent("""
            import signal
            from examples.servers import Redis
            server = Redis()
            server.start()
            print("server", server.pid, server.folder)
            signal.pause()
        """)
    )
    pid, folder = owner.wait_for(r"server (\d+) (\S+)").groups()
    server = psutil.Process(int(pid))

    assert owner.stop(signal.SIGKILL) == -signal.SIGKILL

    ends_at = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        while server.status() != psutil.STATUS_ZOMBIE:  # whoever is its parent now may never collect it
            assert time.monotonic() < ends_at, server
            time.sleep(0.01)
    shutil.rmtree(folder)


def test_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program the error names the make target and Debian's package."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)

    with pytest.raises(ServerMissingError, match=r"make servers.*mariadb-server-core"):
        MariaDB().start()


def test_server_that_does_not_start_shows_its_log() -> None:
    """The error of a failed start has the server's own words, and nothing is left behind."""
    server = Redis(options=("--no-such-option", "1"))

    with pytest.raises(RuntimeError, match="no-such-option"):
        server.start()

    assert not server.is_running()
    assert str(server.folder) == "."


def _until(is_true: Callable[[], bool]) -> None:
    """Ask until it is so; each asking is a round trip to a server, so this is no idle loop."""
    for _ in range(2000):
        if is_true():
            return
    raise AssertionError("it never became true")


def test_postgresql_answers_over_tcp_unix_socket_and_tls() -> None:
    """A private PostgreSQL is reached in all three ways, over TLS with its certificate verified."""
    with PostgreSQL(tls=True) as server:
        ways = [
            {"sslmode": "disable"},
            {"host": str(server.folder)},
            {"sslmode": "verify-full", "sslrootcert": str(server.authority_path)},
        ]
        used = []
        for way in ways:
            with server.connect(**way) as connection:
                asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                used.append(connection.execute(asked).fetchone()[0])

        assert used == [False, False, True]


def test_postgresql_is_found_again_after_kill_and_restart(private_postgresql: PostgreSQL) -> None:
    """What was committed survives a crash of the private server and its restart; its sessions do not."""
    private_postgresql.query("CREATE DATABASE shop")
    left = private_postgresql.connect()

    private_postgresql.kill9()
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    private_postgresql.start()
    private_postgresql.restart()

    assert ("shop",) in private_postgresql.query("SELECT datname FROM pg_database")
    left.close()


def test_pgbouncer_gives_sessions_in_turn(pgbouncer: PgBouncer) -> None:
    """In transaction mode two transactions of one client run in two sessions, once there are two."""
    with pgbouncer.connect() as one, pgbouncer.connect() as two:
        for client in (one, two):
            client.execute("SELECT 1")
        one.commit()
        two.commit()
        seen = set()
        for _ in range(2):
            seen.add(one.execute("SELECT pg_backend_pid()").fetchone())
            one.commit()

    assert len(seen) == 2


_PROGRAM = """
import os, subprocess
import examples.servers

marked = {"mirakuru_uuid": f"1:5{os.getpid()}f"}
print(subprocess.Popen(["sleep", "60"], env=marked, stdout=subprocess.DEVNULL, start_new_session=True).pid)
"""


def test_end_of_a_program_kills_no_stranger(script: Callable[..., Script]) -> None:
    """A server whose random id has the number of a program in it outlives that program."""
    stranger = psutil.Process(int(script(_PROGRAM).succeed()))

    lives = stranger.status() != psutil.STATUS_ZOMBIE
    stranger.kill()
    assert lives
