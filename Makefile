# `make demo` and `make test` set up what they need: a virtual environment with the locked packages, and the project.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check env lock env-imagereward env-vbench

demo: env
	$(BIN)/python run.py experiment=demo

test: env
	$(BIN)/python -m pytest -m "not gpu" --numprocesses auto

check: env
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

env: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo 'Python 3.11 or 3.12 is needed: make $(MAKECMDGOALS) PYTHON=python3.12'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# packages that cannot share an environment with ours, each in its own: environments/README.md
env-imagereward: .venv-imagereward/.ready
env-vbench: .venv-vbench/.ready

.venv-%/.ready: environments/%.lock $(VENV)/.ready
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python -r environments/$*.lock
	touch $@

# the exact versions of everything, from the ranges in pyproject.toml and in environments/*.in
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header
lock:
	$(COMPILE) --extra dev pyproject.toml --output-file requirements.lock
	for range in environments/*.in; do $(COMPILE) $$range --output-file $${range%.in}.lock; done
