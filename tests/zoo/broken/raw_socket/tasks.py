"""A socket of the user's own, for a protocol of the user's own."""

import os
import socket

host, _, port = os.environ["HTTP_HOST"].partition(":")
metrics = socket.create_connection((host, int(port)))


def work():
    """Stand for a task."""
    metrics.sendall(b"cars 1\n")
