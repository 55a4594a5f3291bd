.DEFAULT_GOAL := help
SHELL := bash
PY := .venv/bin/python
# One thread a process for dense products: the server runs one process a core, and tests run side by side.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready ## A virtual environment with everything pinned, and PyTorch's CPU build where pip finds one

.venv/ready: requirements.lock pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mainstem needs Python 3.11 or newer; found $$(python3 --version)"; exit 2; }
	test -x $(PY) || python3 -m venv .venv
	$(PY) -m pip install --quiet --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet $(TORCH_ARGS) torch==2.13.0
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

fmt: setup ## Format and mend what can be mended
	$(PY) -m ruff format src tests legacy benchmarks tools
	$(PY) -m ruff check --fix src tests legacy benchmarks tools

check: setup ## Style, types, floors, sizes, docs headings
	$(PY) -m ruff format --check src tests legacy benchmarks tools
	$(PY) -m ruff check src tests legacy benchmarks tools
	$(PY) -m pyright
	.venv/bin/lint-imports
	$(PY) tools/sizes.py

test: setup ## The whole suite (real data and a browser where they are there)
	$(PY) -m pytest -n 2 --dist loadfile

test-fast: setup ## The fast lane: no browser, nothing slow
	$(PY) -m pytest -n 2 --dist loadfile -m "not slow and not web"

bench: setup ## Speed, each figure beside a bound measured in the same run
	$(PY) -m pip install --quiet --require-hashes -r requirements-bench.lock
	$(PY) -m benchmarks

demo: setup ## The whole river on a real log (or, without one, on a made world)
	.venv/bin/mainstem demo

docs: setup ## Make the reference pages again
	$(PY) tools/reference.py

.PHONY: help setup fmt check test test-fast bench demo docs
