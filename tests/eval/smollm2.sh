#!/usr/bin/env bash
# Checks SmolLM2-135M-Instruct against known figures: its tokens of WikiText-2,
# perplexities of the checkpoint and of the parent model that anyprec-quantize
# makes of it, and the greedy answer of the unquantized server.
#
#   ANYPREC_TEST_DATA=DIR tests/eval/smollm2.sh
#
# DIR has eval/wikitext-2/wiki.test.raw and eval/c4/c4_en_train_head1000.jsonl.
# Takes about 15 minutes of two cores; ends with the number of wrong figures.
set -euo pipefail

: "${ANYPREC_TEST_DATA:?names no folder with eval/wikitext-2 and eval/c4}"
data=$(realpath "$ANYPREC_TEST_DATA")
cd "$(dirname "$0")/../.."
readonly WIKITEXT=$data/eval/wikitext-2/wiki.test.raw
readonly C4=$data/eval/c4/c4_en_train_head1000.jsonl
readonly QUESTION="What is the capital of France?"
readonly ANSWER="The capital of France is Paris."

deploy/install_packages.sh
bazel build -c opt //quantize:anyprec-quantize //server:anyprec \
  //server:anyprec-server //tests/eval:anyprec-eval
# Not by way of bazel-bin, which another build may turn elsewhere meanwhile.
bin=$(bazel info -c opt bazel-bin)
model=$(deploy/fetch_smollm2.sh)
scratch=$(mktemp -d)
server_pid=''
trap '[ -z "$server_pid" ] || kill "$server_pid"; rm -rf "$scratch"' EXIT
wrong=0

# verdict NAME FOUND WANTED OK
verdict() {
  printf '%-28s %-34s wanted: %s\n' "$1" "$2" "$3"
  [ "$4" = 1 ] || { wrong=$((wrong + 1)); echo "WRONG: $1"; }
}

# perplexity MODEL BITS
perplexity() {
  if ! "$bin"/tests/eval/anyprec-eval perplexity --model="$1" --bits="$2" \
    --text="$WIKITEXT" --context=2048 --windows=20 --json \
    >"$scratch/json" 2>"$scratch/log"; then
    cat "$scratch/log" >&2
    return 1
  fi
  python3 -c 'import json, sys; print(json.load(sys.stdin)["perplexity"])' \
    <"$scratch/json"
}

# holds EXPRESSION: 1 where it is true.
holds() { awk "BEGIN { print ($1) ? 1 : 0 }"; }

found=$(perplexity "$model" 16)
verdict "perplexity, unquantized" "$found" "20.852 +- 0.01" \
  "$(holds "$found > 20.842 && $found < 20.862")"
tokens=$(sed -n 's/.*: \([0-9]*\) tokens/\1/p' "$scratch/log")
verdict "tokens of WikiText-2" "$tokens" 303415 "$(holds "$tokens == 303415")"

"$bin"/quantize/anyprec-quantize --input="$model" \
  --output="$scratch/parent" --sensitivity=activation --calibration="$C4" \
  --lm_head=int8
while read -r bits limit; do
  found=$(perplexity "$scratch/parent" "$bits")
  verdict "perplexity, $bits bits" "$found" "at most $limit" \
    "$(holds "$found <= $limit")"
done <<<'3 39.8
4 23.8
5 21.6
6 21.05
7 20.98
8 20.98'

"$bin"/server/anyprec-server --model="$model" --max_bits=16 --port=0 \
  --port_file="$scratch/port" >"$scratch/server.log" 2>&1 &
server_pid=$!
until [ -s "$scratch/port" ]; do
  kill -0 "$server_pid" || { cat "$scratch/server.log" >&2; exit 1; }
  sleep 0.2
done

# chat FLAGS...
chat() {
  "$bin"/server/client/anyprec chat --quiet --max_tokens=40 \
    --address="127.0.0.1:$(cat "$scratch/port")" "$@" "$QUESTION"
}
found=$(chat --temperature=0)
verdict "greedy, unquantized" "$found" "$ANSWER" \
  "$([ "$found" = "$ANSWER" ] && echo 1 || echo 0)"
found=$(chat --temperature=1 --seed=7)
again=$(chat --temperature=1 --seed=7)
verdict "seed 7, twice" "$found" "$again" \
  "$([ "$found" = "$again" ] && echo 1 || echo 0)"

echo "$wrong wrong"
[ "$wrong" = 0 ]
