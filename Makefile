# Every command of the project; .ci/run calls the same targets.
# A fresh clone needs Python 3.11 or newer and nothing else: the first target that needs .venv makes it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
UV ?= uv
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help demo test test-all check addresses bench bench-all vectors contracts gas lock venv anvil clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/.installed ## the whole product on a seeded flow, production-size keys
	@$(BIN)/darkpool demo

test: .venv/.installed anvil ## the tests, without the slow ones
	$(PYTEST)

test-all: .venv/.installed anvil ## every test
	$(PYTEST) -m ""

check: .venv/.installed ## lint, format, types, import layers, contract artifacts and gas, addresses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m contracts.build --check
	$(BIN)/python -m tests.gas --check
	@$(MAKE) --no-print-directory addresses

# Where a package comes from is the installing machine's business; its hash is ours.
ROOT ?= .
INDEX := pypi[.]org|pythonhosted[.]org|npmjs[.](org|com)|yarnpkg[.]com|//[^[:space:]"]*/simple([/"[:space:]]|$$)
INDEX := $(INDEX)|--(extra-)?index-ur[l]|--find-link[s]|"resolve[d]":
UNTRACKED := .git .venv node_modules build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
addresses: ## no file names a package registry
	@if grep -rnIE $(addprefix --exclude-dir=,$(UNTRACKED)) -e '$(INDEX)' $(ROOT); then \
	  echo "error: the lines above name a package registry" >&2; exit 1; \
	else [ $$? -eq 1 ]; fi

bench: .venv/.installed ## speed and memory, as a table
	$(BIN)/python -m tests.bench

bench-all: .venv/.installed ## everything measured, into docs/benchmarks.md with its plots
	$(BIN)/python -m tests.bench --all --scale full --write

vectors: .venv/.installed ## the frozen test vectors against the code
	$(BIN)/python -m tests.vectors --check

contracts: .venv/.installed ## compile the contracts into contracts/artifacts
	$(BIN)/python -m contracts.build

gas: .venv/.installed ## measure the contract's gas into contracts/gas.json and docs/gas.md
	$(BIN)/python -m tests.gas

# setuptools is locked too, because the project is built without isolation.
lock: ## pin the newest allowed versions (needs uv and npm)
	$(UV) pip compile pyproject.toml --extra cluster --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements.lock
	sed -i '1i # Made by "make lock" from pyproject.toml: every package, with the hashes of its files.' requirements.lock
	npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

venv: .venv/.installed ## make .venv with the locked packages

.venv/.locked: requirements.lock
	@python=; for candidate in python3.11 python3.12 python3.13 python3; do \
	  if $$candidate -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
	  printf 'error: no Python 3.11 or newer with venv\n\nhint: install python3 and python3-venv\n' >&2; exit 2; fi; \
	echo "making .venv with $$($$python --version)" >&2; \
	rm -rf .venv; $$python -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Without anvil its tests are skipped, or fail if DARKPOOL_REQUIRE_ANVIL=1.
anvil: ## install the shared test chain, where npm has one
	@if [ -x node_modules/.bin/anvil ] && [ node_modules/.locked -nt package-lock.json ]; then :; \
	elif ! command -v npm >/dev/null; then echo "anvil skipped: no npm" >&2; \
	elif [ "$$(uname -sm)" != "Linux x86_64" ]; then echo "anvil skipped: no locked build for $$(uname -sm)" >&2; \
	elif npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; then touch node_modules/.locked; \
	else echo "anvil skipped: npm ci failed" >&2; [ "$${DARKPOOL_REQUIRE_ANVIL:-}" != 1 ]; fi

clean: ## remove everything that make made
	rm -rf .venv node_modules build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
