PYTHON ?= python3
BIN := .venv/bin
APP ?= 1
KILLS ?= 200
JOBS ?= 3
SEVERAL := -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Dozens of processes of the tests import the same files: compiling them anew takes minutes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: js help setup setup-tests demo quick test soak lint release-check docs

help:
	@echo "make demo    set up .venv and run the main job on the bundled scenes (APP=0: no App)"
	@echo "make quick   set up .venv and run the tests that need neither database nor browser"
	@echo "make test    set up .venv and run every test (JOBS=3 at a time, of which one has the browser)"
	@echo "make soak    set up .venv, kill an embedding job KILLS=200 times, check it (LOG=file)"
	@echo "make lint    set up .venv and run ruff and mypy"
	@echo "make js      build the panels' pages anew (needs Node 20; the bundle is committed)"
	@echo "make docs    set up .venv and build the pages and the reference into site/"
	@echo "make release-check  set up .venv, build wheel and sdist, check them (PUBLISH=1: for real)"

setup:
	@$(PYTHON) scripts/setup_env.py

setup-tests:
	@$(PYTHON) scripts/setup_env.py --tests

demo: setup
	@$(BIN)/python scripts/sandbox.py $(BIN)/alphaclip demo $(if $(filter 0,$(APP)),--no-app)

quick: setup-tests
	@$(BIN)/python -m pytest $(SEVERAL) -m "not app and not database and not slow"

test: setup-tests
	@$(BIN)/python -m pytest $(SEVERAL)

soak: setup-tests
	@$(BIN)/python scripts/soak.py --kills $(KILLS) $(if $(LOG),--log $(LOG))

lint: setup-tests
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python scripts/check_types.py --python-version 3.10
	@$(BIN)/python scripts/check_types.py --python-version 3.13

release-check: setup-tests
	@$(BIN)/python scripts/release_check.py $(if $(PUBLISH),--publish --out dist)

js:
	@cd plugin/js && npm ci --no-fund --no-audit --loglevel=error && npm run --silent build

docs: setup-tests
	@$(BIN)/python scripts/build_docs.py
