# Everything that a contributor runs. Needs GNU make and a Python >= 3.10 on the PATH; the rest is set up by the targets.

# Words for pytest and for the demo: `make test PYTEST_ARGS="-k fork -x"`, `make demo DEMO_ARGS="--report report.html"`.
PYTEST_ARGS ?=
DEMO_ARGS ?=
SOAK_ARGS ?=
# Processes that run the files of tests side by side, each with servers of its own; 0 is this one alone, for a debugger.
WORKERS ?= 3
# Folder with applications of others for `make guard-compat`; see tests/compat/guard_stock.py.
APPS ?=
# Extras for `make oldest`, all of them if empty.
OLDEST ?=
# Tables for `make bench`, all of them if empty: `make bench BENCH="fake opening"`; `BENCH=--quick` is a smoke test.
BENCH ?=

BIN := .venv/bin
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: help venv servers mysqlclient test drivers matrix fuzz sweep chaos oldest portable coverage lint format demo bench compat guard-compat soak clean
.DEFAULT_GOAL := help

help:
	@echo 'make venv      the virtual environment .venv, made anew when pyproject.toml changes'
	@echo 'make servers   MariaDB, PostgreSQL, PgBouncer and Redis for the tests, and what mysqlclient is built with'
	@echo 'make mysqlclient   that client library, built from source, into .venv'
	@echo 'make test      all tests, with private servers'
	@echo 'make drivers   the tests of every driver, and a short matrix'
	@echo 'make matrix    every promise of every driver in every combination, and docs/drivers/matrix.md of it (long)'
	@echo 'make fuzz      thousands of signals at random moments for every driver, and a table of what came of it (long)'
	@echo 'make sweep     interrupts at every point of what a task does, for every driver (long)'
	@echo 'make chaos     workers under load while servers, networks and clocks fail, and docs/chaos.md of it (long)'
	@echo 'make oldest    the contract suite with the oldest version of each client library that is admitted (long)'
	@echo 'make portable  the tests that need no server and no fork'
	@echo 'make coverage  all tests, and which lines they reach, in worker processes too'
	@echo 'make lint      ruff, mypy, pyright, import-linter'
	@echo 'make format    let ruff mend what it can'
	@echo 'make demo      Celery, RQ and multiprocessing at work, with the proof'
	@echo 'make bench     what taskconn costs, beside what you would pick instead, into benchmarks/RESULTS.md (long)'
	@echo "make soak      20,000 jobs through RQ's warm workers amid failures, stops and kills, all accounted for (long)"
	@echo "make compat    RQ's own worker tests with taskconn's workers (long)"
	@echo 'make guard-compat   the guard over stock configurations, where it has to be silent; APPS=folder: over others too'
	@echo 'make clean     remove all that these targets made'

venv: .venv/.stamp

.venv/.stamp: pyproject.toml .ci/venv
	@.ci/venv

servers:
	@.ci/servers
	@.ci/mysqlclient packages

# Built, so not everywhere to be had; no part of `venv`, which the demo needs too.
mysqlclient: venv
	@.ci/mysqlclient

test: venv mysqlclient servers
	$(PYTEST) $(PYTEST_ARGS)

drivers: venv mysqlclient servers
	$(PYTEST) tests/drivers tests/matrix $(PYTEST_ARGS)

matrix: venv mysqlclient servers
	MATRIX=full MATRIX_PAGE=docs/drivers/matrix.md $(BIN)/python -m pytest -n $(WORKERS) tests/matrix $(PYTEST_ARGS)

# FUZZ_SEED=7 repeats a run, as far as signals can be repeated.
fuzz: venv mysqlclient servers
	FUZZ=full $(BIN)/python -m pytest tests/outcomes/test_fuzz.py tests/outcomes/test_fuzz_workers.py tests/outcomes/test_held_commit.py tests/celery/test_once.py tests/drivers/test_once.py $(PYTEST_ARGS)

sweep: venv mysqlclient servers
	SWEEP=full $(BIN)/python -m pytest -rP tests/drivers/test_sweep.py $(PYTEST_ARGS)

chaos: venv
	@.ci/servers chaos
	CHAOS=full $(PYTEST) -rP tests/survival $(PYTEST_ARGS)
	$(BIN)/python -m tests.chaos --write docs/chaos.md

oldest: venv mysqlclient servers
	@.ci/oldest $(OLDEST)

portable: venv
	$(BIN)/python -m pytest -m portable $(PYTEST_ARGS)

coverage: venv mysqlclient servers
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

demo: venv
	@.ci/servers demo
	$(BIN)/python -m examples.demo $(DEMO_ARGS)

bench: venv mysqlclient servers
	$(BIN)/python -m benchmarks $(BENCH)

compat: venv servers
	$(BIN)/python tests/compat/rq_suite.py

guard-compat: venv servers
	$(BIN)/python tests/compat/guard_stock.py $(if $(APPS),--apps $(APPS))

soak: venv servers
	$(BIN)/python -m tests.rq.soak $(SOAK_ARGS)

clean:
	rm -rf .venv build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
