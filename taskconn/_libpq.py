"""The connect arguments of libpq, PostgreSQL's client library, which several clients share; none is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._arguments import Reader, label, read
from .driver import Target
from .errors import InvalidSettingsError

__all__ = ["NAMES", "read_arguments"]

#: What libpq 18 takes. Older ones take less: a driver leaves out what the installed one does not know.
NAMES = (  # noqa: SIM905 -- fifty lines of a list say no more
    "application_name channel_binding client_encoding dbname fallback_application_name gssdelegation gssencmode gsslib "
    "host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts "
    "max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer oauth_scope options "
    "passfile password port replication require_auth requirepeer "
    "scram_client_key scram_server_key service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode "
    "sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni "
    "target_session_attrs tcp_user_timeout user"
).split()

#: Read by taskconn: libpq knows whole seconds only, and no less than two.
_OURS = {"connect_timeout"}

#: Parts of an URL by libpq's names.
_PARTS = {"host": "host", "port": "port", "user": "user", "password": "password", "database": "dbname"}

#: The server cuts longer names (``NAMEDATALEN``).
_LONGEST_LABEL = 63


def read_arguments(target: Target, names: Iterable[str], own: Mapping[str, Reader | None]) -> dict[str, Any]:
    """
    Read where and how to connect, by libpq's names; the label becomes the ``application_name``.

    Args:
        target: What the settings say.
        names: Arguments that the installed libpq takes.
        own: Arguments of the client itself, see `_arguments.read`.

    Raises:
        UnknownOptionError: An argument is neither libpq's nor the client's.
        InvalidSettingsError: A value can't be read, or something is given twice.
    """
    arguments = read(target, {**{name: str for name in names if name not in _OURS}, **own})
    for part, name in _PARTS.items():
        value = getattr(target, part)
        if value:
            if name in arguments:
                remedy = "Leave one out: it stands in the URL itself, and among its parameters."
                raise InvalidSettingsError(target.alias, f"{name!r} is given twice", remedy)
            arguments[name] = value
    if target.options.label and "fallback_application_name" not in arguments:
        arguments.setdefault("application_name", label(target.alias, _LONGEST_LABEL))
    return arguments
