#!/usr/bin/env bash
# Makes both locks again: every package pinned with hashes, no download address. Run after a change of dependencies.
# torch stays out: it is pinned by version alone in pyproject.toml and installed by `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
lock() {
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links "$@"
}
lock --group dev pyproject.toml tools/build-and-torch-needs.in -o requirements.lock
lock --group bench -o requirements-bench.lock
if grep -nE '(https?|file)://' requirements.lock requirements-bench.lock; then exit 1; fi
