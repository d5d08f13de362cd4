"""A web application that is loaded before gunicorn forks its workers."""

import taskconn

taskconn.configure({})


def application(environ, start_response):
    """Answer."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
