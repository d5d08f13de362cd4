"""What is the same for all clients by `connect=`."""

from __future__ import annotations

#: Bounds connecting and reading, for nobody else does, in seconds.
TIMEOUT_S = 2

#: Why a leftover stays that a driver would have put back.
IS_ITS_OWN = "taskconn does not know what this client switches"
