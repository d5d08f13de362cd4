"""The exceptions of taskconn and their messages; what raises them stands elsewhere."""

from __future__ import annotations

from ._base import TaskconnError
from ._configuration import (
    CommandTargetError,
    ConfigurationError,
    DecorationError,
    DriverNotInstalledError,
    GuardSettingError,
    InvalidSettingsError,
    NotConfiguredError,
    UnknownAliasError,
    UnknownOptionError,
    UnknownSchemeError,
    WorkerSettingError,
)
from ._connection import (
    AcquireTimeoutError,
    ConnectionError,  # noqa: A004 -- the family's name; always written taskconn.errors.ConnectionError
    ConnectionFailedError,
    ConnectionIdentityError,
    ForkRefusedError,
    InheritedConnectionError,
    InheritedFileError,
    LeaseEndedError,
    TaintedConnectionError,
    UnsettledProxyError,
)
from ._outcome import (
    CommitOutcomeUnknownError,
    LedgerDialectError,
    LedgerMissingError,
    ManualSettlementError,
    OnceLostError,
    OnceRefusedError,
    OnceResultError,
    OnceUnfinishedError,
    OutcomeError,
    PartialCommitError,
    RollbackOnlyError,
    SavepointError,
    SavepointLostError,
)

__all__ = [
    "AcquireTimeoutError",
    "CommandTargetError",
    "CommitOutcomeUnknownError",
    "ConfigurationError",
    "ConnectionError",
    "ConnectionFailedError",
    "ConnectionIdentityError",
    "DecorationError",
    "DriverNotInstalledError",
    "ForkRefusedError",
    "GuardSettingError",
    "InheritedConnectionError",
    "InheritedFileError",
    "InvalidSettingsError",
    "LeaseEndedError",
    "LedgerDialectError",
    "LedgerMissingError",
    "ManualSettlementError",
    "NotConfiguredError",
    "OnceLostError",
    "OnceRefusedError",
    "OnceResultError",
    "OnceUnfinishedError",
    "OutcomeError",
    "PartialCommitError",
    "RollbackOnlyError",
    "SavepointError",
    "SavepointLostError",
    "TaintedConnectionError",
    "TaskconnError",
    "UnknownAliasError",
    "UnknownOptionError",
    "UnknownSchemeError",
    "UnsettledProxyError",
    "WorkerSettingError",
]

for _value in list(vars().values()):  # tracebacks and result back ends name the public place
    if isinstance(_value, type) and issubclass(_value, TaskconnError):
        _value.__module__ = __name__
