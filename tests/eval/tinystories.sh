#!/usr/bin/env bash
# Checks TinyStories-656K against known figures: perplexities of the checkpoint
# and of the parent model that anyprec-quantize makes of it, calibrated on
# training text, over documents of the validation text.
#
#   ANYPREC_TEST_DATA=DIR tests/eval/tinystories.sh
#
# DIR has models/TinyStories-656K and eval/tinystories.
# Takes half a minute of two cores; ends with the number of wrong figures.
set -euo pipefail

: "${ANYPREC_TEST_DATA:?names no folder with models and eval/tinystories}"
data=$(realpath "$ANYPREC_TEST_DATA")
cd "$(dirname "$0")/../.."
readonly MODEL=$data/models/TinyStories-656K
readonly TRAIN=$data/eval/tinystories/tinystories_train_2MiB.txt
readonly DOCUMENTS=$data/eval/tinystories/tinystories_blocks50.jsonl

deploy/install_packages.sh
bazel build -c opt //quantize:anyprec-quantize //tests/eval:anyprec-eval
# Not by way of bazel-bin, which another build may turn elsewhere meanwhile.
bin=$(bazel info -c opt bazel-bin)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
wrong=0

# verdict NAME FOUND WANTED OK
verdict() {
  printf '%-28s %-34s wanted: %s\n' "$1" "$2" "$3"
  [ "$4" = 1 ] || { wrong=$((wrong + 1)); echo "WRONG: $1"; }
}

# evaluate MODEL BITS: prints "PERPLEXITY TOKENS".
evaluate() {
  if ! "$bin"/tests/eval/anyprec-eval perplexity --model="$1" --bits="$2" \
    --documents="$DOCUMENTS" --json >"$scratch/json" 2>"$scratch/log"; then
    cat "$scratch/log" >&2
    return 1
  fi
  python3 -c 'import json, sys
found = json.load(sys.stdin)
print(found["perplexity"], found["tokens"])' <"$scratch/json"
}

# holds EXPRESSION: 1 where it is true.
holds() { awk "BEGIN { print ($1) ? 1 : 0 }"; }

found=$(evaluate "$MODEL" 16)
read -r perplexity tokens <<<"$found"
verdict "perplexity, unquantized" "$perplexity" "27.048 +- 0.01" \
  "$(holds "$perplexity > 27.038 && $perplexity < 27.058")"
verdict "tokens" "$tokens" 7430 "$(holds "$tokens == 7430")"

"$bin"/quantize/anyprec-quantize --input="$MODEL" --output="$scratch/parent" \
  --sensitivity=activation --calibration="$TRAIN"
while read -r bits limit; do
  found=$(evaluate "$scratch/parent" "$bits")
  read -r perplexity tokens <<<"$found"
  verdict "perplexity, $bits bits" "$perplexity" "at most $limit" \
    "$(holds "$perplexity <= $limit")"
done <<<'3 31.5
4 27.9
5 27.35
6 27.15
7 27.15
8 27.10'

echo "$wrong wrong"
[ "$wrong" = 0 ]
