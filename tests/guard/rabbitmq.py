"""A private RabbitMQ, for the guard's silence: only `make guard-compat` starts it, it takes ten seconds."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from examples.servers import die_with_parent
from examples.servers._process import PrivateServer, free_port
from examples.servers._programs import find_program


class RabbitMQ(PrivateServer):
    """Run a private RabbitMQ: Debian's package ``rabbitmq-server``."""

    kind = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self.host = "127.0.0.1"
        self._names: subprocess.Popen[bytes] | None = None

    def url(self) -> str:
        """Return the URL of its broker."""
        return f"amqp://guest:guest@{self.host}:{self.port}//"

    def is_answering(self) -> bool:
        """Tell whether its port is open; a node that takes connections has booted."""
        try:
            with socket.create_connection((self.host, self.port), 1) as client:
                client.sendall(b"AMQP\0\0\x09\x01")
                client.settimeout(1)
                return bool(client.recv(1))
        except OSError:
            return False

    def prepare(self) -> None:
        """Start Erlang's name server on a port of its own, or the node would leave one behind."""
        names_port = free_port()
        environ = {"ERL_EPMD_PORT": str(names_port), "ERL_EPMD_ADDRESS": self.host}
        command = [find_program("epmd", "erlang-base")]
        self._names = subprocess.Popen(die_with_parent(command), env={**os.environ, **environ})
        folder = self.folder
        settings = folder / "rabbitmq.conf"
        settings.write_text(f"listeners.tcp.default = {self.host}:{self.port}\nloopback_users = none\n")
        self._environ = {
            **environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"taskconn{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }

    def command(self) -> list[str]:
        """Return its command line; the wrapper in the PATH would change to another user."""
        program = find_program("rabbitmq-server", "rabbitmq-server", "/usr/lib/rabbitmq/bin")
        inner = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        words = [f"{name}={value}" for name, value in self._environ.items()]
        return ["env", *words, str(inner if inner.exists() else program)]

    def stop(self) -> None:
        """Stop it, and its name server."""
        super().stop()
        if self._names is not None:
            self._names.kill()
            self._names.wait()
