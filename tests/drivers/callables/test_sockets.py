"""Clients without a driver: what is found of their sockets, and what it is good for."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from taskconn import lease
from taskconn.driver import Peek
from taskconn.drivers.callables import Callables
from taskconn.options import Options
from tests.drivers.callables.lines import Line
from tests.drivers.rows import target_of
from tests.support.stopwatch import Stopwatch


def test_socket_is_found(listener: socket.socket) -> None:
    """The socket that was connected during the call, and no other of the process, is the client's."""
    driver = Callables()
    with socket.create_connection(listener.getsockname()):
        target = target_of("line://x", options=Options(connect=lambda _: Line(port=listener.getsockname()[1])))
        client = driver.open(target, 5)

        assert list(driver.sockets(client)) == [client.opened.socket.fileno()]
        driver.close(client, 1)
        assert list(driver.sockets(client)) == []


def test_later_socket_to_the_same_server_is_found(listener: socket.socket) -> None:
    """A pooled client connects when it is used: what leads to its server and is younger than it is counts as its."""
    driver, place = Callables(), listener.getsockname()
    with socket.create_connection(place):
        client = driver.open(target_of("line://x", options=Options(connect=lambda _: Line(port=place[1]))), 5)
        with socket.create_connection(place) as later:
            assert set(driver.sockets(client)) == {client.opened.socket.fileno(), later.fileno()}
    driver.close(client, 1)


def test_finders_of_two_threads_do_not_mix(listener: socket.socket) -> None:
    """Two clients opened at a time keep their sockets apart."""
    driver, place = Callables(), listener.getsockname()

    def slow(_: str) -> Line:
        time.sleep(0.05)
        return Line(port=place[1])

    clients: list[Any] = []
    target = target_of("line://x", options=Options(connect=slow))
    threads = [threading.Thread(target=lambda: clients.append(driver.open(target, 5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [client.known() for client in clients] == [[client.opened.socket.fileno()] for client in clients]
    for client in clients:
        driver.close(client, 1)


def test_socket_of_another_client_is_not_its_own(listener: socket.socket) -> None:
    """Two clients of one server: neither takes what the other has, nor what is being opened for a third one."""
    driver, place = Callables(), listener.getsockname()
    has_connected, may_end = threading.Event(), threading.Event()

    def connect(url: str) -> Line:
        line = Line(port=place[1])
        if "third" in url:
            has_connected.set()
            may_end.wait(30)
        return line

    def open_one(name: str) -> Any:
        return driver.open(target_of(f"line://{name}", options=Options(connect=connect)), 5)

    clients = [open_one("first"), open_one("second")]
    opening = threading.Thread(target=lambda: clients.append(open_one("third")))
    opening.start()
    assert has_connected.wait(30)
    meanwhile = [list(driver.sockets(client)) for client in clients]
    may_end.set()
    opening.join()

    own = [[client.opened.socket.fileno()] for client in clients]
    assert meanwhile == own[:2]
    assert [list(driver.sockets(client)) for client in clients] == own
    for client in clients:
        driver.close(client, 1)


def test_gone_server_shows_at_a_glance(listener: socket.socket) -> None:
    """A client all of whose sockets are dead is dead; unread bytes mean nothing for one that may have readers."""
    driver = Callables()
    options = Options(connect=lambda _: Line(port=listener.getsockname()[1]))
    client = driver.open(target_of("line://x", options=options), 5)
    server, _ = listener.accept()

    server.sendall(b"news\n")
    time.sleep(0.05)
    assert driver.peek(client) is Peek.QUIET
    server.close()
    time.sleep(0.05)
    assert driver.peek(client) is Peek.DEAD
    driver.invalidate(client)


def test_check_that_hangs_is_given_up_in_time(listener: socket.socket) -> None:
    """The sockets are shut when the time is up, which ends whatever waits for them."""
    driver = Callables()
    options = Options(connect=lambda _: Line(port=listener.getsockname()[1]))
    client = driver.open(target_of("line://x", options=options), 5)
    client.check = lambda line: bool(line.socket.recv(1))

    watch = Stopwatch()
    assert not driver.is_alive(client, 0.2)
    assert watch.seconds() < 1.2
    driver.invalidate(client)


def test_fork_leaves_no_socket_of_the_clients_to_a_child(aliases: Callable[..., Any]) -> None:
    """In the child the found sockets are dead ones, also those that were opened after the client."""
    handle = aliases()
    with lease(handle) as db:
        place = db.socket.getpeername()
        later = socket.create_connection(place)
        child = os.fork()
        if child == 0:
            dead = 0
            for end in (db.socket, later):
                try:
                    end.send(b"x")
                except OSError:
                    dead += 1
            os._exit(0 if dead == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert later.send(b"x") == 1
        later.close()
