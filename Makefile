# InsightShop Admin. `make help` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
ADDRESS ?= 127.0.0.1
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Tests start hundreds of processes; without .pyc files each compiles the desk anew.
test faults: export PYTHONDONTWRITEBYTECODE =

.PHONY: help install run test faults soak check bench screenshots lock format clean

help: ## list these targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## install and start nothing (see docs/recovery.md)

run: $(VENV)/.installed ## install, migrate, start the desk and print its address
	@$(BIN)/python -m services.desk --port $(PORT) --address $(ADDRESS)

test: $(VENV)/.installed-dev ## install what tests need and run every test, browser tests included
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

faults: $(VENV)/.installed-dev ## break everything on purpose, over 200 kills among it; writes docs/faults.md
	@DESK_FAULTS=long $(BIN)/python -m pytest -n 2 --dist loadgroup tests/faults tests/services $(ARGS)

soak: $(VENV)/.installed-dev ## let fifty people and three browsers edit one section for a minute; writes docs/soak.md
	@$(BIN)/python -m pytest tests/soak/long.py $(ARGS)

check: $(VENV)/.installed-dev ## lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed-dev ## measure backup and restore beside other tools, as ratios
	@$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(VENV)/.installed-dev ## take the README's pictures anew from a desk with a month of history
	@DESK_SCREENSHOTS=1 $(BIN)/python -m pytest tests/e2e/test_screenshots.py

lock: $(VENV)/.installed-dev ## write the lock files anew from the direct requirements
	@for kind in requirements requirements-dev; do \
	  $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-annotate --quiet $$kind.txt -o $$kind.lock; done

format: $(VENV)/.installed-dev ## format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean: ## remove the virtual environment and caches (never instance/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "On Debian and Ubuntu this needs one more package: apt install python3-venv"; exit 1; }

$(VENV)/.installed: requirements.lock | $(BIN)/python
	@echo "Installing the locked dependencies (once; about two minutes) ..."
	@$(PIP) install --quiet --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock | $(BIN)/python
	@echo "Installing what tests and checks need (once; about two minutes) ..."
	@$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.installed
