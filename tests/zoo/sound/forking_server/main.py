"""A server forks for each client: what has come in is the child's by design."""

import socket
import socketserver
import threading


class Handler(socketserver.StreamRequestHandler):
    """Answer."""

    def handle(self):
        """Say what was heard."""
        self.wfile.write(self.rfile.readline())


if __name__ == "__main__":
    with socketserver.ForkingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with socket.create_connection(server.server_address, 30) as client:
            pass
