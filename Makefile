# Everything runs in .venv. It is made once from the lock, and anew when the lock, pyproject.toml or PYTHON changes.

PYTHON ?= python3
ARGS   ?=
JOBS   ?= 2000000
SECONDS ?= 600
SEED   ?=

BIN       := .venv/bin
INSTALLED := .venv/installed-by-$(notdir $(PYTHON))
LOCK      := deploy/requirements.lock
BENCH     := build/bench
BENCH_LOCK := deploy/requirements-bench.lock
PIP       := -m pip --quiet --disable-pip-version-check
# uv leaves the addresses of package indexes out; hashes are those of every platform's files.
COMPILE   := build/lock/bin/uv pip compile pyproject.toml --quiet $(ARGS) --universal --python-version 3.11 \
             --generate-hashes --no-config --system-certs --no-emit-index-url --no-emit-find-links \
             --annotation-style line --custom-compile-command 'make lock'
# Processes share the tests file by file, in the order of tests/conftest.py: those with slow tests first.
PARALLEL  := --numprocesses 4 --dist loadfile --no-loadscope-reorder
# The migrator sets lock_timeout, and a migration may take its time; a count of attempts fits into an integer.
SQUAWK    := $(BIN)/squawk --assume-in-transaction --pg-version 15.0 \
             --exclude prefer-bigint-over-int,prefer-robust-stmts,require-lock-timeout,require-statement-timeout

.PHONY: help install run test mutants faults soak check bench format lock image clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## Install everything into .venv, as every target does that needs it

run: $(INSTALLED) ## Start everything on a PostgreSQL of its own, whose data stay in .aiserv
	@$(BIN)/python -m aiserv dev $(ARGS)

test: $(INSTALLED) ## Run the tests; ARGS='-k lease' some of them, '-m "not slow"' skips the slow, '-n 0' takes one process
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

faults: $(INSTALLED) ## Inject every fault, and write what was measured into tests/faults/README.md
	@AISERV_FAULTS_TABLE=yes $(BIN)/python -m pytest tests/faults $(ARGS)

soak: $(INSTALLED) ## Inject them ten times as often, SECONDS=600 of chaos (SEED=… repeats it); create and finish JOBS=2000000
	@rm -f build/soak.md
	@AISERV_FAULTS_TIMES=10 AISERV_CHAOS_SECONDS=$(SECONDS) AISERV_CHAOS_SEED=$(SEED) AISERV_SOAK_JOBS=$(JOBS) \
	    $(BIN)/python -m pytest tests/faults $(ARGS)
	@! [ -e build/soak.md ] || cat build/soak.md

check: $(INSTALLED) ## Check format, style, types, imports and SQL
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest --quiet tests/test_imports.py tests/test_sql_files.py
	$(SQUAWK) sql/migrations/*.sql

bench: $(BENCH)/installed ## Measure what BENCHMARKS.md shows, on a durable PostgreSQL; ARGS='--rows 4,5 --runs 3 --quick'
	@PYTHONPATH=. $(BENCH)/venv/bin/python -m tests.bench $(ARGS)

mutants: $(INSTALLED) ## Put bugs into copies of the tree, and see the tests find each; ARGS='lease' tries some
	@$(BIN)/python -m tests.mutants $(ARGS)

format: $(INSTALLED) ## Format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format

lock: ## Pin the dependencies for what pyproject.toml says now; ARGS=--upgrade takes the newest versions
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/python $(PIP) install uv
	$(COMPILE) --all-extras --group build --group check --group test --output-file $(LOCK)
	$(COMPILE) --extra fast --constraint $(LOCK) --output-file deploy/requirements-runtime.lock
	$(COMPILE) --all-extras --group bench --constraint $(LOCK) --output-file $(BENCH_LOCK)

image: ## Build the container image aiserv
	docker build --tag aiserv .

clean: ## Remove what can be made again; the data in .aiserv stay
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find aiserv workers tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The peers have a venv of their own. Those of npm are left out where it is missing, and the table says so.
$(BENCH)/installed: $(BENCH_LOCK) tests/bench/subjects/package.json
	@echo "Installing the benchmark and its peers into $(BENCH) ..."
	@$(PYTHON) -m venv --clear $(BENCH)/venv
	@$(BENCH)/venv/bin/python $(PIP) install --require-hashes --requirement $(BENCH_LOCK)
	@mkdir -p $(BENCH)/node && cp tests/bench/subjects/package.json $(BENCH)/node
	@! command -v npm >/dev/null || (cd $(BENCH)/node && npm install --silent --no-package-lock --no-audit --no-fund) || \
	    echo "npm failed: Graphile Worker and pg-boss are left out." >&2
	@touch $@

$(INSTALLED): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	    "aiserv needs Python 3.11 or newer. Say which: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.13" >&2; exit 1; }
	@echo "Installing aiserv into .venv; the first time this takes about a minute ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python $(PIP) install --require-hashes --requirement $(LOCK)
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Installed."
