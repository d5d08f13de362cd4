"""Counts for statsd, sent by a socket that was made at import: datagrams have no replies."""

import socket

statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
statsd.connect(("127.0.0.1", 9))


def count(name):
    """Count *name*."""
    statsd.send(name)


def work():
    """Stand for a task."""
    try:
        count(b"cars:1|c")
    except OSError:
        return
