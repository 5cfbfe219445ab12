# Each verb sets up .venv by itself and does its job; a second call installs nothing again.
PYTHON ?= python3
BIN := .venv/bin

train: .venv/core  ## train LeNet-5 on handwritten digits; ARGS="model=mlp seed=1" for others
	$(BIN)/cnnctl train $(ARGS)

test: .venv/dev  ## run the tests; ARGS="tests/nets -k lenet" for some of them
	$(BIN)/pytest -n auto --dist worksteal -m "not slow and not gpu" $(ARGS)

check: .venv/dev  ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache

fmt: .venv/dev  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/dev  ## the performance comparisons, one after the other
	for script in bench/*.py; do $(BIN)/python $$script || exit 1; done

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cnnctl needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/core: .venv/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/dev: .venv/core
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: train test check fmt bench
