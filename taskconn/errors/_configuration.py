"""Errors of settings and of the public face: nothing has been opened yet."""

from __future__ import annotations

from ._base import TaskconnError


class ConfigurationError(TaskconnError):
    """Say that settings, or the use of the public face, are wrong: nothing has been opened yet."""


class NotConfiguredError(ConfigurationError):
    """No settings at all were found where a connection was asked for."""

    alias: str
    _fields = ("alias",)
    _message = (
        "Connection {alias!r} was asked for, but taskconn has no settings in this process.\n"
        "Without an URL there is nothing to connect to.\n"
        "Write `taskconn.configure({{{alias!r}: 'mysql://user:password@host/database'}})`, set `taskconn_databases` "
        "in Celery's settings or `TASKCONN_DATABASES` in RQ's settings module, or TASKCONN_URL in the environment."
    )


class UnknownAliasError(ConfigurationError):
    """Settings exist, but not for this alias."""

    alias: str
    known: str
    nearest: str
    _fields = ("alias", "known", "nearest")
    _message = (
        "There is no connection {alias!r}; configured are: {known}.\n"
        "Only a configured alias says how to connect.\n"
        "{nearest}"
    )


class UnknownOptionError(ConfigurationError):
    """An option was given that taskconn and the driver do not have."""

    alias: str
    option: str
    known: str
    nearest: str
    _fields = ("alias", "option", "known", "nearest")
    _message = (
        "Connection {alias!r} has an option {option!r} that nobody knows.\n"
        "An option that is ignored in silence would look as if it worked; there are: {known}.\n"
        "{nearest}"
    )


class UnknownSchemeError(ConfigurationError):
    """The scheme of an URL names no driver."""

    alias: str
    scheme: str
    known: str
    nearest: str
    _fields = ("alias", "scheme", "known", "nearest")
    _message = (
        "The URL of connection {alias!r} starts with {scheme!r}, which no driver answers to.\n"
        "The scheme chooses the driver; there are: {known}.\n"
        "{nearest}"
    )


class InvalidSettingsError(ConfigurationError):
    """A setting has a value that can't be used."""

    alias: str
    problem: str
    remedy: str
    _fields = ("alias", "problem", "remedy")
    _message = "The settings of connection {alias!r} can't be used: {problem}.\n{remedy}"


class WorkerSettingError(ConfigurationError):
    """A setting of a worker, not of a connection, can't be used."""

    setting: str
    problem: str
    remedy: str
    _fields = ("setting", "problem", "remedy")
    _message = "The worker's setting {setting} can't be used: {problem}.\n{remedy}"


class DriverNotInstalledError(ConfigurationError):
    """The package that a driver needs is not installed, or too old."""

    alias: str
    scheme: str
    package: str
    extra: str
    reason: str
    _fields = ("alias", "scheme", "package", "extra", "reason")
    _message = (
        "Connection {alias!r} needs the package {package!r} for {scheme}:// URLs ({reason}).\n"
        "taskconn installs no client library by itself.\n"
        "Write `pip install 'taskconn[{extra}]'`."
    )


class DecorationError(ConfigurationError):
    """A function can't be decorated as it was."""

    function: str
    problem: str
    remedy: str
    _fields = ("function", "problem", "remedy")
    _message = "`with_db` can't be used on {function}: {problem}.\n{remedy}"


class CommandTargetError(ConfigurationError):
    """A command of `taskconn` was told to look at settings that it can't get."""

    target: str
    problem: str
    remedy: str
    _fields = ("target", "problem", "remedy")
    _message = (
        "The command can't work with {target!r}: {problem}.\n"
        "It has to see the settings that a worker sees, or it would speak of another database.\n"
        "{remedy}"
    )


class GuardSettingError(ConfigurationError):
    """The guard was given a mode that it does not have."""

    mode: str
    modes: str
    _fields = ("mode", "modes")
    _message = (
        "The guard has no mode {mode!r}.\n"
        "It would not look for connections that cross forks, while you believe that it does.\n"
        "Write one of: {modes}."
    )
