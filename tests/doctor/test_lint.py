"""`taskconn lint` finds what will cross a fork in the source, at its line, and leaves alone what is sound."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from taskconn.doctor import flake8, lint
from tests.support.process import ROOT
from tests.zoo.table import BROKEN, SOUND, Case

pytestmark = pytest.mark.portable


def _places(folder: Path) -> set[str]:
    found = [finding for path in lint.python_files([folder]) for finding in lint.check_file(path)]
    return {f"{Path(finding.path).relative_to(folder)}:{finding.line}" for finding in found}


@pytest.mark.parametrize("case", [case for case in BROKEN if case.lint], ids=lambda case: case.name)
def test_broken_application_is_found(case: Case) -> None:
    """The line that has to be changed is named."""
    assert case.lint in _places(case.folder)


@pytest.mark.parametrize("case", SOUND, ids=lambda case: case.name)
def test_sound_application_is_left_alone(case: Case) -> None:
    """A false alarm is worse than silence."""
    assert _places(case.folder) == set()


def _codes(source: str) -> list[str]:
    return [f"{finding.rule.code}:{finding.line}" for finding in lint.check_source(source, "shop.py")]


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        pytest.param("import pymysql as db\nconn = db.connect()", ["TC001:2"], id="another name"),
        pytest.param("from MySQLdb import connect as c\nx = [c()]", ["TC001:2"], id="inside of a list"),
        pytest.param(
            "import psycopg\ntry:\n    conn = psycopg.connect()\nexcept OSError:\n    pass", ["TC001:3"], id="try"
        ),
        pytest.param("import psycopg2\nwith psycopg2.connect() as c:\n    pass", ["TC001:2"], id="psycopg2 stays open"),
        pytest.param("import psycopg\nwith psycopg.connect() as c:\n    pass", [], id="psycopg closes"),
        pytest.param("import psycopg\nc = psycopg.connect()\nc.close()", [], id="closed again"),
        pytest.param("import psycopg\nc = psycopg.connect()\nd.close()", ["TC001:2"], id="another is closed"),
        pytest.param("import psycopg\nif __name__ == '__main__':\n    c = psycopg.connect()", [], id="program"),
        pytest.param("import psycopg\nf = lambda: psycopg.connect()", [], id="lambda"),
        pytest.param("import psycopg\nasync def f(c=psycopg.connect()):\n    pass", ["TC001:2"], id="async default"),
        pytest.param("from psycopg_pool import ConnectionPool\np = ConnectionPool(open=False)", [], id="closed pool"),
        pytest.param(
            "from sqlalchemy import create_engine\ne = create_engine('x')\nBase.metadata.create_all(bind=e)",
            ["TC002:3"],
            id="create_all",
        ),
        pytest.param(
            "from sqlalchemy import create_engine\ne = create_engine('x')\ne.connect().close()\ne.dispose()",
            [],
            id="engine emptied again",
        ),
        pytest.param(
            "import celery\nfrom taskconn import with_db\n@with_db('cache')\n@celery.shared_task\ndef f(db): pass",
            ["TC006:3"],
            id="order",
        ),
        pytest.param(
            "from taskconn import with_db\nfrom shop import app\n@app.task(bind=True)\n@with_db\ndef f(self, db): pass",
            [],
            id="right order",
        ),
        pytest.param(
            "import pymysql\nfrom celery.signals import worker_init\n@worker_init.connect\ndef f(**_):\n"
            "    c = pymysql.connect()\n    c.close()",
            [],
            id="closed in the handler",
        ),
        pytest.param("import pymysql\nconn = pymysql.connect()  # noqa: TC001 -- closed by atexit", [], id="noqa"),
        pytest.param("import pymysql\nconn = pymysql.connect()  # noqa", [], id="bare noqa"),
        pytest.param("import pymysql\nconn = pymysql.connect()  # noqa: E501", ["TC001:2"], id="noqa of another"),
    ],
)
def test_rule(source: str, codes: list[str]) -> None:
    """What opens and keeps a connection at import is found; what closes it, or runs later, is not."""
    assert _codes(source) == codes


def test_folders_of_others_are_left_out(tmp_path: Path) -> None:
    """What was installed or built is not the user's to change."""
    for name in ("shop/db.py", ".venv/lib/x.py", "venv/x.py", "build/x.py", "shop/site-packages/x.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    assert [path.relative_to(tmp_path).as_posix() for path in lint.python_files([tmp_path])] == ["shop/db.py"]


def test_flake8_plugin_gives_line_column_and_code() -> None:
    """flake8 counts columns from 0, and takes the code from the text."""
    (row,) = flake8.Plugin(ast.parse("import pymysql\nconn = pymysql.connect()"), "shop.py").run()

    assert row[:2] == (2, 7)
    assert row[2].startswith("TC001 a MySQL connection is opened by pymysql.connect()")


def test_flake8_finds_the_plugin() -> None:
    """Installed beside flake8, its findings are flake8's."""
    pytest.importorskip("flake8")
    path = next(case.folder for case in BROKEN if case.name == "module_global") / "tasks.py"
    command = [sys.executable, "-m", "flake8", "--isolated", "--select", "TC", str(path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert f"{path}:7:8: TC001 " in done.stdout, done.stderr
    assert done.returncode == 1
