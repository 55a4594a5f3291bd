#!/usr/bin/env bash
# Makes the peers' locks again: each package pinned with hashes, no download address.
# torch and the GPU packages it names stay out: `mainstem bench peers` installs torch's CPU build first, by version alone.
set -euo pipefail
cd "$(dirname "$0")"
uv=${UV:-../../.venv/bin/uv}
for name in rectools lenskit implicit rechub lightgbm teatasting gbstats confidence; do
  out=()
  gpu=$("$uv" pip compile --quiet --python-version 3.11 --no-header --no-annotate "$name.in" | grep -oE '^(nvidia|cuda|triton)[a-z0-9-]*' || true)
  for package in torch $gpu; do out+=(--no-emit-package "$package"); done
  "$uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links "${out[@]}" "$name.in" -o "requirements-$name.lock"
done
if grep -nE '(https?|file)://' requirements-*.lock; then exit 1; fi
