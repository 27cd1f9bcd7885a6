# Each verb sets up what it needs in .venv; PYTHON=… chooses the interpreter (3.11 or later).
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-slow check fix bench clean

help:
	@echo "make demo        BM25 and a real small model over the demo suite; needs no hub"
	@echo "make test        the tests"
	@echo "make test-slow   the longer checks"
	@echo "make check       lint, format, types"
	@echo "make fix         lint and format, mending what can be mended"

$(VENV)/.ready: pyproject.toml .ci/setup
	.ci/setup $(VENV)
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/rerank-harness demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest -q -m "not slow"

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -q -m slow

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
