#!/usr/bin/env bash
# Tests and measures a bundle of deploy/bundle.sh on the NVIDIA GPU of this machine.
#
#   ./run.sh --out=DIR [--quick] [--seconds=N]
#
# Runs the GPU suite, the suite under each tool of compute-sanitizer where that is
# installed, and every benchmark of the bundle. DIR receives the results: JSON of
# the suite (suite.json) and of each benchmark, and each step's log. --quick leaves
# compute-sanitizer out; --seconds limits each benchmark. The last line says how
# many steps passed; exits 1 where one failed. Needs nothing but bash, coreutils
# and the driver.
set -euo pipefail

usage() {
  echo "usage: $0 --out=DIR [--quick] [--seconds=N]" >&2
  exit 2
}

out='' quick=0 limits=()
for argument in "$@"; do
  case $argument in
    --out=?*) out=${argument#--out=} ;;
    --quick) quick=1 ;;
    --seconds=[0-9]*) limits=("$argument") ;;
    *) usage ;;
  esac
done
[ -n "$out" ] || usage
bundle=$(cd "$(dirname "$0")" && pwd)
suite=$bundle/bin/gpu-suite
if [ ! -x "$suite" ]; then
  echo "$0: there is no bin/gpu-suite here; deploy/bundle.sh makes a bundle" >&2
  exit 1
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

# What a sanitizer slows down a hundredfold need not run at every shape: each
# kernel at least once, and not where memory is filled.
readonly SANITIZED='-*MatchesTheReference*:*GreedyTokens*:*Memory*:*LogitsEqual*'

passed=0 failed=0 skipped=0

# step NAME COMMAND...: its output goes to NAME.log, and to the screen if it fails.
step() {
  local name=$1
  shift
  echo "== $name"
  if "$@" >"$out/$name.log" 2>&1; then
    passed=$((passed + 1))
    tail -n 1 "$out/$name.log"
  else
    echo "FAILED (exit $?):"
    failed=$((failed + 1))
    tail -n 40 "$out/$name.log"
  fi
}

step suite "$suite" "--gtest_output=json:$out/suite.json"

sanitizer=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin \
  command -v compute-sanitizer || true)
for tool in memcheck racecheck synccheck initcheck; do
  if [ "$quick" = 1 ]; then
    echo "== $tool skipped: --quick"
    skipped=$((skipped + 1))
  elif [ -z "$sanitizer" ]; then
    echo "== $tool skipped: this machine has no compute-sanitizer"
    skipped=$((skipped + 1))
  else
    step "$tool" "$sanitizer" --tool="$tool" --error-exitcode=1 \
      --require-cuda-init=no "$suite" "--gtest_filter=$SANITIZED"
  fi
done

for benchmark in "$bundle"/bin/*benchmark; do
  [ -x "$benchmark" ] || continue
  name=$(basename "$benchmark")
  step "$name" "$benchmark" "--json=$out/$name.json" "${limits[@]}"
done

echo "$passed passed, $failed failed, $skipped skipped; results in $out"
[ "$failed" = 0 ]
