PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup setup-tests test lint

help:
	@echo "make test    set up .venv and run every test"
	@echo "make lint    ruff and mypy"

setup:
	@$(PYTHON) scripts/setup_env.py

setup-tests:
	@$(PYTHON) scripts/setup_env.py --tests

test: setup-tests
	@$(BIN)/python -m pytest

lint: setup-tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --python-version 3.10
	@$(BIN)/mypy --python-version 3.13
