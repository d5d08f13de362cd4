"""The servers behind the aliases: whether they are reached, and whether they admit what all workers need."""

from __future__ import annotations

from collections.abc import Iterable

from ._application import Application, Request
from ._at_fork import count, finding
from ._check import Answer, check
from ._findings import Finding

__all__ = ["look"]


def look(application: Application, request: Request) -> tuple[list[Finding], list[str]]:
    """Ask the servers, unless they are not to be asked."""
    aliases = application.registry.aliases()
    if not aliases or not request.asks_servers:
        return [], [f"aliases: {', '.join(aliases) or 'none'}" + (", not asked" if aliases else "")]
    answers = check(application.registry, aliases)
    found = [
        finding("TC105", f"alias {one.alias!r} at {one.address or 'an unknown address'}: {one.error}")
        for one in answers
        if not one.is_ok
    ]
    facts = []
    for address, those in _by_server(answers):
        budget, fact = _budget(application, request, address, those)
        found += budget
        facts.append(fact)
    return found, facts


def _by_server(answers: Iterable[Answer]) -> list[tuple[str, list[Answer]]]:
    servers: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.is_ok:
            servers.setdefault(answer.address, []).append(answer)
    return list(servers.items())


def _budget(
    application: Application, request: Request, address: str, answers: list[Answer]
) -> tuple[list[Finding], str]:
    """Compare what all processes may have open with what the server says it admits."""
    processes = request.processes or application.processes
    threads = request.threads or application.threads
    per_process = [_most(application, answer.alias, threads) for answer in answers]
    need, most = request.hosts * processes * sum(per_process), answers[0].max_connections
    names = ", ".join(answer.alias for answer in answers)
    each = f"({' + '.join(map(str, per_process))})" if len(per_process) > 1 else f"{per_process[0]}"
    fleet = f"{count(request.hosts, 'host')} x {count(processes, 'process')} x {each} = {count(need, 'connection')}"
    fact = f"{names}: {answers[0].server} {answers[0].version} at {address}"
    if most is None:
        return [], fact
    used = f" ({answers[0].connected} in use now)" if answers[0].connected is not None else ""
    words = f"{fleet} of the {most} that {answers[0].server} at {address} admits{used}"
    return [finding("TC106", f"{names}: {words}")] if need > most else [], f"{fact}: {fleet} of {most}{used}"


def _most(application: Application, alias: str, threads: int) -> int:
    """Say how many connections of an alias a process opens at the most: one per thread, within `max_size`."""
    size = application.registry.pool(alias).options.max_size
    return threads if size is None else min(threads, size)
