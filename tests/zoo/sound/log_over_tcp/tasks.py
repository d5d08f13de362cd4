"""A log that goes to a server: written only, a record at a time."""

import logging
import logging.handlers
import os

log = logging.getLogger("cars")
host, _, port = os.environ["HTTP_HOST"].partition(":")
log.addHandler(logging.handlers.SocketHandler(host, int(port)))
log.error("started")


def work():
    """Stand for a task."""
    log.error("worked")
