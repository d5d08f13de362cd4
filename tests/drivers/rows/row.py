"""What the suites have to know of a driver."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

from taskconn._url import settle, split
from taskconn.driver import Driver, Target


def target_of(url: str, **changes: Any) -> Target:
    """Read *url* as an alias's settings would; *changes* are attributes of the target."""
    place = settle("default", split("default", url))
    parts = {"host": place.host, "port": place.port, "user": place.user, "database": place.database}
    password = place.password.value if place.password else None
    return Target(
        **{"alias": "default", "scheme": place.scheme, **parts, "password": password, "query": place.query} | changes
    )


class Row:
    """
    What the suite has to know of a driver.

    Attributes:
        name: Name of the row.
        driver: The driver's class.
        misspelt, meant: An argument with a slip of the pen, and without.
        has_server: Is there a server, which can be absent, frozen, or count bytes?
        family: What it connects to, one of `tests/matrix/families`.
        scheme: Of the URLs that choose it.
        stays: What a task leaves behind stays for the next one unless `reset=True` is asked for, and why.
        asks_while_reading: Can the library ask something while rows of another answer are unread?
        tells_more: Can the library tell whether further result sets wait, without asking for them?
        is_bare: Does a task get the library's own object, which taskconn does not guard?
        unread: Rows of the reply that `half_read` leaves.
        not_swept: Passages of `sweep/` that it does not have.
        plain, tls: Connect arguments without TLS, and with it; ``{authority}`` is the file to trust.
        package: What it needs of PyPI, besides SQLAlchemy; "" is what the driver names.
        options: Options that belong to the URL.
        errors: What a statement raises when the connection is lost; () is what the driver says.
    """

    name: ClassVar[str]
    driver: ClassVar[type[Driver[Any]]]
    misspelt: ClassVar[str]
    meant: ClassVar[str]
    has_server = True
    family: ClassVar[str]
    scheme: ClassVar[str]
    asks_while_reading = False
    tells_more = True
    is_bare = False
    unread = 20000
    not_swept: ClassVar[frozenset[str]] = frozenset()
    stays: ClassVar[Mapping[str, str]] = {}
    plain: ClassVar[Mapping[str, str]] = {}
    tls: ClassVar[Mapping[str, str]] = {}
    package = ""
    options: ClassVar[Mapping[str, Any]] = {}
    errors: tuple[type[BaseException], ...] = ()

    def url(self, request: Any) -> str:
        """Give the URL of an empty place of the test's own."""
        raise NotImplementedError

    def prepare(self, connection: Any) -> None:
        """Make room for what is written."""

    def write(self, connection: Any, value: str) -> None:
        """Write *value*, with one statement."""
        raise NotImplementedError

    def write_many(self, connection: Any, values: list[str]) -> None:
        """Write *values* by one call."""
        raise NotImplementedError

    def values(self, connection: Any) -> list[str]:
        """Read what was written, in order, with one statement."""
        raise NotImplementedError

    def run(self, connection: Any, statement: str) -> list[Any]:
        """Run one statement of SQL, and give its rows as tuples."""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def client(self, connection: Any) -> Any:
        """Give the client library's own connection."""
        return connection

    def half_read(self, connection: Any) -> Any:
        """Give what holds a half-read reply, or stands for it."""
        raise NotImplementedError

    def rest(self, reader: Any) -> list[Any] | None:
        """Give the rest of a half-read reply; None where what stands for it has none."""
        return None

    def session_id(self, connection: Any) -> str:
        """Ask the server which session this is."""
        raise NotImplementedError

    def session_ids(self, connection: Any) -> set[str]:
        """Give the ids of sessions that the pool does not know, as they were told at login: nothing is sent."""
        return set()

    def ask(self, connection: Any, number: int) -> tuple[Any, Any]:
        """Ask something whose answer only *number* gives, each time in another way; return it, and the right one."""
        raise NotImplementedError
