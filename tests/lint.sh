#!/usr/bin/env bash
# Checks the sources' form: clang-format, shellcheck, buildifier, clang-tidy;
# and that tables of benchmarks are what their results say.
#
#   tests/lint.sh [--counts=FILE]
#
# Runs each of these that this machine has, says what is wrong, and exits 1
# if any found something. FILE receives "PASSED FAILED SKIPPED", the linters
# counted as one each. deploy/install_packages.sh --tests installs what it can.
# clang-tidy reads compile_commands.json, which deploy/compile_commands.py writes
# after a build.
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0 counts=''
case "${1-}" in
  '') ;;
  --counts=*) counts=${1#--counts=} ;;
  *) echo "usage: $0 [--counts=FILE]" >&2; exit 2 ;;
esac

# The sources of this checkout that match a pattern, new ones included. The
# option lets root lint a checkout that belongs to somebody else.
sources() {
  local list
  list=$(git -c safe.directory='*' ls-files -z --cached --others \
    --exclude-standard -- "$@" | xargs -0 -r ls -d 2>/dev/null || true)
  if [ -z "$list" ]; then
    echo "no $*: is this a Git checkout?" >&2
    return 1
  fi
  echo "$list"
}

# lint NAME TOOL COMMAND...: runs COMMAND if TOOL is installed.
lint() {
  local name=$1 tool=$2
  shift 2
  if ! command -v "$tool" >/dev/null; then
    echo "lint: $name skipped, $tool is not installed"
    skipped=$((skipped + 1))
  elif "$@"; then
    echo "lint: $name passed"
    passed=$((passed + 1))
  else
    echo "lint: $name FAILED"
    failed=$((failed + 1))
  fi
}

check_format() {
  sources '*.cc' '*.h' '*.cu' '*.cuh' '*.proto' |
    xargs -r -d '\n' clang-format --dry-run --Werror
}

check_shell() {
  sources '*.sh' .ci/run | xargs -r -d '\n' shellcheck
}

check_build_files() {
  sources WORKSPACE '*BUILD.bazel' '*.bzl' |
    xargs -r -d '\n' buildifier --mode=check --lint=off
}

check_tables() {
  tests/bench/tables.py --check tests/bench/results kernels/README.md
}

check_tidy() {
  if [ ! -e compile_commands.json ]; then
    echo "compile_commands.json is missing: run deploy/compile_commands.py" >&2
    return 1
  fi
  python3 tests/clang_tidy.py
}

lint clang-format clang-format check_format
lint shellcheck shellcheck check_shell
lint "benchmark tables" python3 check_tables
lint buildifier buildifier check_build_files
lint clang-tidy .cache/tools/clang_tidy/data/bin/clang-tidy check_tidy

[ -z "$counts" ] || echo "$passed $failed $skipped" >"$counts"
[ "$failed" = 0 ]
