from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.databases import MySQLDatabase, RedisDatabase
from tests.support.process import ROOT, Script

README = ROOT / "README.md"

#: Where the commands of the virtual environment are.
BIN = Path(sys.executable).parent

#: What README writes as addresses, for which the tests put their own.
DATABASE_URL, QUEUE_URL = "mysql://app:secret@db/shop", "redis://queue/0"

EVALUATE = """
import sys
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

document = Sybil(parsers=[PythonCodeBlockParser()]).parse(__import__("pathlib").Path(sys.argv[1]))
examples = list(document.examples())
for example in examples:
    example.evaluate()
print(len(examples), "blocks")
"""

StartScript = Callable[..., Script]


def _blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def _block(beginning: str) -> str:
    """Give the one block of README that begins so."""
    (found,) = (block for block in _blocks() if block.startswith(beginning))
    return found


@pytest.fixture
def shop(tmp_path: Path, mysql_database: MySQLDatabase, redis_db: RedisDatabase) -> Path:
    """Give a folder with the files of README, whose addresses are those of the test's servers."""
    mysql_database.query("CREATE TABLE car (id INTEGER AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50))")
    for block in _blocks():
        text = block.replace(DATABASE_URL, mysql_database.url).replace(QUEUE_URL, redis_db.url)
        name = re.match(r"# (\w+\.py)$", text, re.MULTILINE)
        if name:
            (tmp_path / name[1]).write_text(text)
    return tmp_path


def _cars(database: MySQLDatabase) -> list[str]:
    return [name for (name,) in database.query("SELECT name FROM car ORDER BY name")]


def test_every_block_of_readme_runs(script: StartScript, shop: Path, tmp_path: Path) -> None:
    """Each block of README can be typed in, in the order in which they stand there."""
    text = README.read_text()
    for name in ("tasks.py", "jobs.py"):
        for url in re.findall(r"(?:mysql|redis)://127[^\"]+", (shop / name).read_text()):
            text = text.replace(QUEUE_URL if url.startswith("redis") else DATABASE_URL, url)
    copy = tmp_path / "README.md"
    copy.write_text(text)

    output = script(EVALUATE, str(copy), cwd=shop, environ={"PYTHONPATH": str(shop)}).succeed()

    assert f"{len(_blocks())} blocks" in output


def test_celery_of_readme_inserts_a_car(script: StartScript, shop: Path, mysql_database: MySQLDatabase) -> None:
    """The ten lines for Celery are a whole application: its worker commits what its producer has sent."""
    producer = _block("from tasks import")
    worker = script([str(BIN / "celery"), "-A", "tasks", "worker", "--loglevel", "INFO", "-c", "1"], cwd=shop)

    script(producer, cwd=shop).succeed()

    worker.wait_for(r"insert_car\[.*succeeded")
    assert _cars(mysql_database) == ["Beetle"]
    assert worker.stop(timeout=60) == 0  # Celery itself may give a child half a minute


def test_celery_of_readme_refuses_a_missing_argument(script: StartScript, shop: Path) -> None:
    """The caller does not see the connection, and is told what it forgets."""
    producer = script(_block("from tasks import").replace('"Beetle"', ""), cwd=shop)

    assert producer.wait() != 0
    assert "TypeError: insert_car() missing 1 required positional argument: 'name'" in producer.output


def test_rq_of_readme_inserts_a_car(script: StartScript, shop: Path, mysql_database: MySQLDatabase) -> None:
    """The lines for RQ are a whole application, run by RQ's own command line."""
    (command,) = re.findall(r"^    (rq worker .*)$", README.read_text(), re.MULTILINE)
    producer = _block("from redis import Redis").replace(QUEUE_URL, _queue_url(shop))
    script(producer, cwd=shop).succeed()

    output = script([str(BIN / command.split()[0]), *command.split()[1:], "--burst"], cwd=shop).succeed()

    assert "Job OK" in output, output
    assert _cars(mysql_database) == ["Mini"]


def _queue_url(shop: Path) -> str:
    (url,) = re.findall(r'"(redis://.*)"', (shop / "settings.py").read_text())
    return url


def test_multiprocessing_of_readme_inserts_cars(script: StartScript, shop: Path, mysql_database: MySQLDatabase) -> None:
    """The program with the proxy inserts every car, however its processes are started."""
    script([sys.executable, "cars.py"], cwd=shop).succeed()

    assert _cars(mysql_database) == ["Beetle", "Isetta", "Mini"]
