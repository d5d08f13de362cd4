"""Certificates for a private server: an authority made for it alone, and a server's certificate for this machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trustme


class Certificates(NamedTuple):
    """Paths of PEM files: what a client trusts, and what the server shows."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Write an authority and a certificate for 127.0.0.1, ::1 and localhost into *folder*."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "::1", "localhost")
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority.cert_pem.write_to_path(str(made.authority))
    server.private_key_pem.write_to_path(str(made.key))
    made.key.chmod(0o600)
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    return made
