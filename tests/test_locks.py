"""Locks that are found on a client, and what they say of it."""

from __future__ import annotations

import threading
import time

import pytest

from taskconn._locks import Locks

pytestmark = pytest.mark.portable


class Client:
    """A client with a lock that is free at rest, one that never is, and one that its holder may take again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.again = threading.RLock()
        self.gate = threading.Lock()
        self.gate.acquire()


def test_lock_that_was_free_at_rest_says_that_the_client_is_busy() -> None:
    """One that is always held says nothing, nor does one that its holder may take again."""
    client = Client()
    locks = Locks(client)

    with client.again:
        assert not locks.are_held()
    with client.lock:
        assert locks.are_held()


def test_nobody_is_waited_for_in_a_process_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds it then is the one who would wait."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    client = Client()
    locks = Locks(client)

    started = time.monotonic()
    with client.lock:
        assert not locks.come_free(60)
    assert time.monotonic() - started < 30


def test_another_thread_is_waited_for() -> None:
    """A thread of the client's own may hold it for a moment; one that holds it for longer is given up."""
    client = Client()
    locks = Locks(client)
    is_held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with client.lock:
            is_held.set()
            go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(60)
    assert not locks.come_free(0.01)
    go.set()
    assert locks.come_free(60)
    holder.join()


def test_client_without_attributes_has_none() -> None:
    """A client in C shows nothing."""
    assert Locks(object()).come_free(0)
