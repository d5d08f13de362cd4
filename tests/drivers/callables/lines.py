"""Clients of the simplest kind, which no driver knows."""

from __future__ import annotations

import socket


class Line:
    """A client of the simplest kind: one socket, and lines."""

    def __init__(self, url: str = "", *, port: int = 0) -> None:
        self.url = url
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.said: list[str] = []

    def say(self, word: str) -> None:
        self.said.append(word)

    def close(self) -> None:
        self.said.append("close")
        self.socket.close()


class TransactionalLine(Line):
    def commit(self) -> None:
        self.said.append("commit")

    def rollback(self) -> None:
        self.said.append("rollback")
