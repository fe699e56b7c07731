# New here? `make demo` and `make test` first install everything that they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.set-up

.PHONY: demo test test-nuclei bench check fuzz docs setup clean help

help: ## Show all targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(SETUP) ## Create a virtual environment with the pinned dependencies

$(SETUP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "morefromless needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing PyTorch and the other dependencies; the first time this takes some minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(SETUP) ## Run both controls on synthetic tissue (1 to 3 minutes on 2 cores)
	$(BIN)/mfl demo --out runs/demo

# Three processes with one thread each on two cores: while a test waits (for kills, queues, the
# browser), another test uses its core. Processes that a test starts have one thread too.
test: $(SETUP) ## Run the tests (5 to 8 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder

test-nuclei: ## Run the tests of mfl segment with TIAToolbox itself (installs 220 packages)
	$(PYTHON) -m venv $(VENV)-nuclei
	$(VENV)-nuclei/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-nuclei.txt --editable '.[dev,nuclei]'
	$(VENV)-nuclei/bin/python -m pytest tests/hovernet

bench: ## Measure every stage and its peers and write docs/benchmarks.md (20 minutes, idle machine)
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --constraint constraints-bench.txt --editable '.[bench]'
	$(VENV)-bench/bin/python -m benchmarks --write

check: $(SETUP) ## Check style, types and the direction of imports, and build the package
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m build --no-isolation --outdir build/dist > /dev/null

fuzz: $(SETUP) ## Read 20,000 damaged files and fail on a traceback, crash or hang (minutes)
	$(BIN)/python -m tests.fuzz --mutants 20000 --seed 0

docs: $(SETUP) ## Build the documentation site in build/site, without a network
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@echo "Open build/site/index.html"

clean: ## Remove the virtual environment and caches (not runs/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
