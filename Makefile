# make demo and make test set up what they need in .venv, from pyproject.toml and constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# One thread for each process: the matrices are small, and tests run in two processes.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint docs benchmark reproduce clean

demo: .venv/demo.stamp
	$(BIN)/specgrad demo

# JAX compiles every operation for every shape anew, in each process. That is nearly all of its tests' time, so it
# leaves out what makes compiled code fast, and the tests of a file, which share shapes, stay in one process.
test: export JAX_DISABLE_MOST_OPTIMIZATIONS ?= 1
test: export XLA_FLAGS ?= --xla_cpu_use_fusion_emitters=false
test: .venv/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/test_typing.py

docs: .venv/dev.stamp
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

benchmark: .venv/dev.stamp
	$(BIN)/python -m benchmarks

reproduce: .venv/dev.stamp
	$(BIN)/python -m experiments all --workers 2 --out docs/_static/experiments

clean:
	rm -rf .venv docs/_build

.venv/%.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[$*]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "specgrad needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
