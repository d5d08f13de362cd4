"""A server forks for each client: what has come in is the child's by design."""

import socketserver
import subprocess
import sys

#: Somebody else, who connects.
CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30) as client:
    client.sendall(b"hello\\n")
    assert client.recv(100) == b"hello\\n"
"""


class Handler(socketserver.StreamRequestHandler):
    """Answer."""

    def handle(self):
        """Say what was heard."""
        self.wfile.write(self.rfile.readline())


if __name__ == "__main__":
    with socketserver.ForkingTCPServer(("127.0.0.1", 0), Handler) as server:
        with subprocess.Popen([sys.executable, "-c", CLIENT, str(server.server_address[1])]) as client:
            server.handle_request()
        assert client.returncode == 0
