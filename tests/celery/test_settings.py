"""Where Celery's settings come from, in every process that there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.databases import MySQLDatabase


def test_lease_at_import_finds_the_settings_of_its_app(python: Callable[..., str]) -> None:
    """Outside of tasks the one app's settings are used, although neither include nor worker has run."""
    source = """
import taskconn
from celery import Celery

app = Celery("shop", taskconn_databases={"default": "sqlite:///shop.db"})
with taskconn.lease() as db:
    print(type(db).__mro__[1].__module__, db.execute("SELECT 1").fetchone())
"""
    assert "sqlite3 (1,)" in python(source)


#: A thread that leases, once it is told to; half a second is ample for one that waits for nobody.
SECOND_THREAD = """
import threading
import taskconn

seen = []

def lease():
    try:
        with taskconn.lease() as db:
            seen.append(db.execute("SELECT 1").fetchone())
    except Exception as error:
        seen.append(error)

second = threading.Thread(target=lease)

def begin():
    second.start()
    second.join(0.5)
"""


def test_lease_waits_for_a_thread_that_imports_the_integration(python: Callable[..., str]) -> None:
    """In a threaded server the second request finds the settings, though the first is just about to look for them."""
    source = """
import sys
import taskconn
from celery import Celery
from second_thread import begin, second, seen

class Import:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "taskconn.celery._worker" and second.ident is None:
            begin()

sys.meta_path.insert(0, Import)
app = Celery("shop", taskconn_databases={"default": "sqlite:///shop.db"})
with taskconn.lease() as db:
    seen.append(db.execute("SELECT 1").fetchone())
second.join()
print(seen)
"""
    assert python(source, second_thread=SECOND_THREAD).strip() == "[(1,), (1,)]"


def test_lease_waits_for_a_thread_that_reads_the_apps_settings(python: Callable[..., str]) -> None:
    """While one thread imports the app's settings module, others do not take the app for one without settings."""
    source = """
import taskconn, taskconn.celery
from celery import Celery
from second_thread import second, seen

app = Celery("shop", config_source="config")
with taskconn.lease() as db:
    seen.append(db.execute("SELECT 1").fetchone())
second.join()
print(seen)
"""
    config = """
from second_thread import begin
begin()
taskconn_databases = {"default": "sqlite:///shop.db"}
"""
    assert python(source, second_thread=SECOND_THREAD, config=config).strip() == "[(1,), (1,)]"


def test_lease_in_a_settings_module_has_no_settings_yet(python: Callable[..., str]) -> None:
    """A settings module that leases as it is imported is told that there are no settings, and does not hang."""
    source = """
import taskconn, taskconn.celery
from celery import Celery

app = Celery("shop", config_source="config")
with taskconn.lease() as db:
    print("first:", db.execute("SELECT 1").fetchone())
"""
    config = """
import taskconn
try:
    taskconn.lease().__enter__()
except taskconn.errors.NotConfiguredError:
    print("too early")
taskconn_databases = {"default": "sqlite:///shop.db"}
"""
    assert python(source, config=config).split("\n") == ["too early", "first: (1,)", ""]


def test_include_of_the_app_drops_that_of_its_settings(python: Callable[..., str]) -> None:
    """`Celery(include=...)` silently drops the `include` of the settings, and keeps `imports`: which the docs name."""
    source = """
import sys
from celery import Celery

app = Celery("shop", include=["json"], config_source=dict({}))
app.loader.import_default_modules()
print("taskconn.celery" in sys.modules)
"""
    assert python(source.format("include=['taskconn.celery']")).strip() == "False"
    assert python(source.format("imports=['taskconn.celery']")).strip() == "True"


def test_importing_the_module_reads_no_configuration(python: Callable[..., str]) -> None:
    """Importing `taskconn.celery` leaves an app's configuration unread, imports no driver and opens nothing."""
    source = """
import sys
from celery import Celery

app = Celery("shop", config_source="nowhere_to_be_found")
import taskconn.celery

print(app.configured, [name for name in ("pymysql", "sqlite3", "redis") if name in sys.modules])
"""
    assert python(source).strip() == "False []"


def test_producer_checks_arguments_without_settings(python: Callable[..., str]) -> None:
    """A process that only sends tasks needs no settings, and is told about wrong arguments at once."""
    source = """
from celery import Celery
from taskconn import with_db

app = Celery("shop", broker="memory://")

@app.task
@with_db
def pay(db, user, amount=1): ...

for call in (lambda: pay.delay(), lambda: pay.delay(1, 2, 3), lambda: pay.delay(1, db=2), lambda: pay.delay(user=1)):
    try:
        print("sent", bool(call().id))
    except TypeError as error:
        print(error)
"""
    first, second, third, fourth = python(source).strip().splitlines()

    assert "missing 1 required positional argument: 'user'" in first
    assert "takes from 1 to 2 positional arguments but 3 were given" in second
    assert "unexpected keyword argument 'db'" in third
    assert fourth == "sent True"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_settings_said_to_one_app_reach_its_children(
    start_worker: Any, visits_database: MySQLDatabase, method: str
) -> None:
    """`taskconn.configure(..., app=app)` in a task module holds in children too, where the app is a copy."""
    worker = start_worker(
        visits_database,
        *("-c", "1", "--pool-start-method", method),
        databases={},
        plan="configured",
        environ={"PROJECT_DATABASE": visits_database.url},
    )

    assert worker.run("put", 1) == "succeeded"
    assert worker.run("put_in_thread", 2) == "succeeded"

    assert [visit[0] for visit in worker.visits()] == [1, 2]
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "source",
    [
        "app.conf.taskconn_databases = databases; taskconn.celery.install(app)",
        "taskconn.celery.install(app); app.conf.taskconn_databases = databases",
        "app.config_from_object({'taskconn_databases': databases}); taskconn.celery.install(app)",
    ],
    ids=["set before", "set after", "not read yet"],
)
def test_installed_app_is_looked_into_outside_of_tasks(python: Callable[..., str], source: str) -> None:
    """`install(app)` without settings finds those of the app, also for a lease that no task takes."""
    program = f"""
from celery import Celery
import taskconn.celery

app = Celery("p", set_as_current=False)
databases = {{"default": "sqlite:///:memory:"}}
{source}
with taskconn.lease() as db:
    print(db.execute("SELECT 7").fetchone())
"""

    assert python(program).strip() == "(7,)"
