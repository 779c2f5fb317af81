# make demo | test | lint | docs | format | clean
# A first run makes .venv; afterwards pip runs again only when pyproject.toml or constraints.txt changed.
# Another interpreter: make test PYTHON=python3.12      Every test, slow ones too: make test PYTEST_ARGS=

PYTHON ?= python3
PYTEST_ARGS ?= -m "not slow and not gpu"
PYTEST_PROCESSES ?= -n logical --maxprocesses 4
VENV := .venv
BIN := $(VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_PROGRESS_BAR := off
export PIP_ROOT_USER_ACTION := ignore
export PIP_RETRIES := 8
export PIP_TIMEOUT := 60

PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-compile -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint docs format clean

help:
	@echo 'make demo     seven maps of an example pair, written to demo/ (no download of weights)'
	@echo 'make test     ruff, mypy and the tests, as CI runs them'
	@echo 'make lint     ruff and mypy only'
	@echo 'make docs     the documentation site, written to site/'
	@echo 'make format   ruff rewrites what it can'
	@echo 'make clean    remove build products and caches, keep .venv, data/ and runs/'

demo: $(VENV)/.base-installed
	@echo '== demo: seven maps into demo/'
	@$(BIN)/stablemtl demo --out demo

test: lint
	@echo '== pytest'
	@$(BIN)/python -m pytest -q $(PYTEST_PROCESSES) $(PYTEST_ARGS)

lint: $(VENV)/.dev-installed
	@echo '== ruff check, ruff format --check'
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@echo '== mypy src'
	@$(BIN)/mypy

docs: $(VENV)/.dev-installed
	@echo '== docs: site/'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site

format: $(VENV)/.dev-installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	@echo '== removing build products and caches'
	@rm -rf build dist demo site .mypy_cache .ruff_cache .pytest_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first: later steps then find it installed and never look for another build of it.
$(VENV)/.base-installed: pyproject.toml constraints.txt
	@echo '== $(VENV): stablemtl and what it needs (a few minutes the first time)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) "$$(grep '^torch==' constraints.txt)"
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.base-installed
	@echo '== $(VENV): all extras and developers'\'' tools'
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@
