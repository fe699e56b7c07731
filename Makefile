# Everything a newcomer needs: `make demo` and `make test` set up what they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.set-up

.PHONY: demo test test-nuclei bench check fuzz docs setup clean help

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(SETUP) ## Make a virtual environment with the pinned dependencies

$(SETUP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "morefromless needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing PyTorch and the other dependencies; the first time this takes some minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(SETUP) ## Run the main job on synthetic tissue (2 to 3 minutes on 2 cores)
	$(BIN)/mfl demo --out runs/demo

# Three processes of one thread each on two cores: tests that wait (for kills, queues, the browser)
# leave their core to others. What a test starts has one thread too.
test: $(SETUP) ## Run the tests (7 to 10 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder

test-nuclei: ## Run the tests of mfl segment with TIAToolbox itself (installs 220 packages)
	$(PYTHON) -m venv $(VENV)-nuclei
	$(VENV)-nuclei/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-nuclei.txt --editable '.[dev,nuclei]'
	$(VENV)-nuclei/bin/python -m pytest tests/hovernet

bench: ## Measure every stage beside its peers and write docs/benchmarks.md (20 minutes, quiet machine)
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --constraint constraints-bench.txt --editable '.[bench]'
	$(VENV)-bench/bin/python -m benchmarks --write

check: $(SETUP) ## Lint, types, that imports run one way, and that the package builds
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m build --no-isolation --outdir build/dist > /dev/null

fuzz: $(SETUP) ## Read 20,000 mutants of foreign files: no traceback, no crash, no hang (minutes)
	$(BIN)/python -m tests.fuzz --mutants 20000 --seed 0

docs: $(SETUP) ## Build the documentation as a site in build/site, without a network
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@echo "Open build/site/index.html"

clean: ## Remove the virtual environment and caches (not runs/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
