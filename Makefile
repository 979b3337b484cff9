# Needs Python 3.11 or newer, and nothing else: no Docker, no servers, no accounts, no root.

PYTHON ?= python3
BIN := .venv/bin
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help run test faults bench lint lock runtime tools bench-tools

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile

run: runtime ## start everything on this machine, until Ctrl-C
	@exec $(BIN)/python -m stack

test: lint ## lint, then run all tests and measure what they reach
	@rm -rf .coverage && mkdir .coverage
	@$(BIN)/coverage run -m pytest -n auto --dist worksteal $(TESTS)
	@# a process that a test killed leaves half a file, which is said in combined.txt and left out
	@$(BIN)/coverage combine --quiet > .coverage/combined.txt 2>&1 || test -s .coverage/data
	@rm -f .coverage/data.*
	@$(BIN)/coverage report > .coverage/report.txt || { cat .coverage/report.txt; exit 1; }

faults: tools ## break everything for an hour, on private servers, and prove that no promise breaks
	@$(BIN)/python -m tests.faults

bench: bench-tools ## measure it beside other job queues (BENCH="--case A --size full")
	@.venv-bench/bin/python -m benchmarks $(BENCH)

lint: tools ## style, types and import rules
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > .venv/imports.txt || { cat .venv/imports.txt; exit 1; }

lock: ## choose versions anew (needs uv)
	$(COMPILE) --upgrade pyproject.toml -o requirements.lock
	$(COMPILE) --upgrade --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(COMPILE) --upgrade --group bench -c requirements.lock pyproject.toml -o requirements-bench.lock

runtime:
	@$(PYTHON) stack/install.py requirements.lock

tools:
	@$(PYTHON) stack/install.py requirements-dev.lock

bench-tools:
	@$(PYTHON) stack/install.py requirements-bench.lock .venv-bench
