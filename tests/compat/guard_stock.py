r"""
The guard over stock configurations of Celery, RQ and gunicorn, and over applications of others: it has to say nothing.

``make guard-compat``, or ``python tests/compat/guard_stock.py [WORD ...]`` for those whose names have one of the words.
Applications of others are not kept here: ``make guard-compat APPS=folder`` names a folder whose ``apps.json`` lists::

    {"name": "...", "cwd": "folder below", "command": ["celery", "-A", "proj", "worker"], "environ": {},
     "ready": "ready\\.", "send": "Python source, run in cwd when it is ready", "done": "pattern", "count": 1}

The first word of a command is a module, run by ``python -m taskconn run -m``. ``{redis}``, ``{amqp}``, ``{mysql}`` and
``{postgresql}`` in any string stand for the URL of a private server.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from examples.servers import MariaDB, PostgreSQL, Redis, ServerMissingError  # noqa: E402 -- the tree is no installed package
from tests.guard import stock  # noqa: E402 -- as above
from tests.guard.rabbitmq import RabbitMQ  # noqa: E402 -- as above
from tests.support.process import Script  # noqa: E402 -- as above


def main() -> int:
    """Run all, say what was seen of each, and give 1 if the guard said anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="run what has one of these in its name")
    parser.add_argument("--apps", type=Path, help="folder with applications of others, and their apps.json")
    arguments = parser.parse_args()
    is_silent = True
    with ExitStack() as stack:
        urls = _servers(stack)
        for row in _rows(urls, arguments.apps):
            if arguments.words and not any(word in row.name for word in arguments.words):
                continue
            for way in row.ways:
                is_silent &= _run(row, way)
    return 0 if is_silent else 1


def _servers(stack: ExitStack) -> dict[str, str]:
    redis, mariadb, postgresql = (stack.enter_context(kind()) for kind in (Redis, MariaDB, PostgreSQL))
    mariadb.query("CREATE DATABASE results")
    urls = {"redis": redis.url(1), "mysql": mariadb.url("results"), "postgresql": postgresql.url("postgres")}
    try:
        urls["amqp"] = stack.enter_context(RabbitMQ()).url()
    except ServerMissingError as error:
        print(f"left out: RabbitMQ ({error})")
    return urls


def _rows(urls: dict[str, str], apps: Path | None) -> Iterator[stock.Stock]:
    backends = {
        "redis results": urls["redis"],
        "SQLAlchemy results, MySQL": "db+" + urls["mysql"].replace("mysql:", "mysql+pymysql:"),
        "SQLAlchemy results, PostgreSQL": "db+" + urls["postgresql"].replace("postgresql:", "postgresql+psycopg2:"),
        "no results": None,
    }
    yield from stock.celery_rows(urls["redis"], backends)
    if "amqp" in urls:
        yield from stock.celery_rows(urls["amqp"], {"rpc results": "rpc://", **backends})
    yield from stock.rq_rows(urls["redis"])
    yield from stock.gunicorn_rows()
    if apps is not None:
        text = (apps / "apps.json").read_text(encoding="utf-8")
        for name, url in urls.items():
            text = text.replace("{" + name + "}", url)
        for app in json.loads(text):
            yield stock.Stock(f"of others, {app['name']}", _application(apps, app), ("run",))


def _application(folder: Path, app: dict[str, Any]) -> Any:
    def run(start: stock.Start, way: str) -> str:
        cwd = folder / app["cwd"]
        module, *words = app["command"]
        environ = {"PYTHONPATH": app.get("path", ""), **app.get("environ", {})}
        command = [sys.executable, "-m", "taskconn", "run", "--guard=warn", "-m", module, *words]
        script = start(command, cwd=cwd, environ=environ)
        script.wait_for(app["ready"], 60)
        if app.get("send"):
            start([sys.executable, "-c", app["send"]], cwd=cwd, environ=environ).succeed(60)
        script.wait_for(app["done"], 60, count=app.get("count", 1))
        script.stop(timeout=60)
        return script.output

    return run


def _run(row: stock.Stock, way: str) -> bool:
    began = time.monotonic()
    scripts: list[Script] = []

    def start(command: list[str], **options: Any) -> Script:
        scripts.append(Script(command, **options))
        return scripts[-1]

    try:
        said = stock.sayings(row.run(start, way))
    except AssertionError as error:
        print(f"{row.name}, {way}: could not be run\n{str(error)[-3000:]}", flush=True)
        return False
    finally:
        for script in scripts:
            script.kill()
    print(f"{row.name}, {way}: {'silent' if not said else ''} ({time.monotonic() - began:.0f} s)", flush=True)
    for line in said:
        print(f"    {line}", flush=True)
    return not said


if __name__ == "__main__":
    sys.exit(main())
