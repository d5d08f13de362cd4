"""A connection to a web service that is kept alive, made at import."""

import http.client
import os

api = http.client.HTTPConnection(os.environ["HTTP_HOST"])
api.request("GET", "/")
api.getresponse().read()


def work():
    """Stand for a task."""
    api.request("GET", "/")
    return api.getresponse().read()
