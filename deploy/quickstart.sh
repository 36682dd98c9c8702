#!/usr/bin/env bash
# From a bare clone to a language model that answers at 3, 4, 6 and 8 bits from
# one set of weights in memory.
#
#   deploy/quickstart.sh                 with SmolLM2-135M-Instruct, fetched
#   deploy/quickstart.sh --model PATH    with a HuggingFace folder or GGUF file
#   deploy/quickstart.sh --serve         leaves the server up until Ctrl-C
#
# Installs packages (root or sudo), builds, quantizes the model once, starts a
# server on a free loopback port, asks it the same question at every precision
# and once with nothing but a deadline, and prints what that cost. What is made
# is kept in ${XDG_CACHE_HOME:-$HOME/.cache}/anyprec, so a second run is quick.
set -euo pipefail

readonly QUESTION="What is the capital of France, and what can one see there?"
readonly STORY_OPENING="Once upon a time, there was a little dog who"
readonly ANSWER_TOKENS=40
# 8 GB of weights from a disk of 10 MB/s take a quarter of an hour.
readonly START_LIMIT_S=1800
readonly KEEP_LOGS_DAYS=30
readonly QUANTIZE_FLAGS=(--seed_bits=3 --parent_bits=8
  --sensitivity=activation --lm_head=int8)

# The checkout's absolute path, before --model's relative one loses its base.
repository=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/anyprec
readonly repository cache
scratch='' server_pid='' server_log=''

say() { printf '\n== %s\n' "$*"; }

die() {
  echo "$0: $*" >&2
  exit 1
}

usage() {
  echo "usage: $0 [--model PATH] [--serve]"
  echo "PATH is a HuggingFace folder or a GGUF file of a Llama-style model."
}

clean_up() {
  if [ -n "$server_pid" ]; then
    kill -TERM "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
  fi
  [ -z "$scratch" ] || rm -rf "$scratch"
}

# Sets `model` and `serve` from the command line.
parse_flags() {
  model='' serve=0
  while [ $# -gt 0 ]; do
    case $1 in
      --model=?*) model=${1#--model=} ;;
      --model)
        [ -n "${2-}" ] || { usage >&2; exit 2; }
        model=$2
        shift
        ;;
      --serve) serve=1 ;;
      -h | --help) usage; exit 0 ;;
      *)
        echo "$0: unknown argument: $1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
  done
  if [ -n "$model" ]; then
    [ -e "$model" ] || die "--model: no such file or folder: $model"
    [ -f "$model" ] || [ -e "$model/config.json" ] ||
      die "--model: $model has no config.json: not a HuggingFace folder"
    model=$(realpath "$model")
  fi
}

build() {
  say "Building"
  cd "$repository"
  bazel build -c opt //server:anyprec //server:anyprec-server \
    //quantize:anyprec-quantize
  # Not the link in the checkout: a build with other options turns it elsewhere.
  bin=$(bazel info -c opt bazel-bin 2>/dev/null)
  # Bazel's own memory is wanted for the model.
  bazel shutdown
}

# Sets `model` to SmolLM2, or to the model in this repository.
choose_model() {
  say "Looking for SmolLM2-135M-Instruct"
  model=$("$repository/deploy/fetch_smollm2.sh") && return
  model=$repository/tests/testdata/tiny-llama
  echo "SmolLM2 cannot be fetched here; going on with the small story teller" \
    "in tests/testdata/tiny-llama."
}

# Everything that the parent model is made from, as one hash.
quantization_key() {
  {
    echo "${QUANTIZE_FLAGS[@]}"
    find -L "$model" -type f -printf '%P %s %T@\n' | sort
    sha256sum <"$repository/deploy/calibration.txt"
    sha256sum <"$bin/quantize/anyprec-quantize"
  } | sha256sum | cut -c1-64
}

# Sets `parent` to the model's 3..8-bit parent, made now or earlier, and locks
# it against other runs until unlock_parent.
quantize() {
  local name key
  name=$(basename "$model" .gguf)
  key=$(quantization_key)
  # Two models may share a name; their paths tell them apart.
  parent=$cache/parents/$name-$(sha256sum <<<"$model" | cut -c1-8)
  mkdir -p "$cache/parents"
  exec {parent_lock}>"$parent.lock"
  if ! flock --nonblock "$parent_lock"; then
    say "Waiting for another run, which is at work on $parent"
    flock "$parent_lock"
  fi
  if [ "$(cat "$parent.done" 2>/dev/null)" = "$key" ]; then
    say "Quantized before: $parent"
    return
  fi
  say "Quantizing $model to 3..8 bits"
  # What an interrupted run has finished lies beside it, and is resumed.
  rm -rf "$parent" "$parent.done"
  "$bin/quantize/anyprec-quantize" --input="$model" --output="$parent" \
    --calibration="$repository/deploy/calibration.txt" "${QUANTIZE_FLAGS[@]}"
  echo "$key" >"$parent.done"
}

# A server that has loaded the parent no longer needs its files.
unlock_parent() { exec {parent_lock}>&-; }

# Sets `server_log` to a new file: servers of other runs write to theirs.
new_server_log() {
  mkdir -p "$cache/logs"
  find "$cache/logs" -name 'server.*' -mtime "+$KEEP_LOGS_DAYS" -delete
  server_log=$(mktemp "$cache/logs/server.$(date +%Y%m%d-%H%M%S).XXXXXX")
}

# Starts the server, showing its log until it answers, and sets `address`.
start_server() {
  say "Starting the server"
  new_server_log
  "$bin/server/anyprec-server" --model="$parent" --host=127.0.0.1 --port=0 \
    --port_file="$scratch/port" >"$server_log" 2>&1 {parent_lock}>&- &
  server_pid=$!
  tail -n +1 -f --pid="$server_pid" "$server_log" {parent_lock}>&- &
  local tail_pid=$! give_up=$((SECONDS + START_LIMIT_S))
  # The file appears when the model is loaded and the server answers.
  until [ -s "$scratch/port" ]; do
    if ! kill -0 "$server_pid" 2>/dev/null; then
      wait "$tail_pid" || true
      server_pid=''
      die "the server did not start; its log is $server_log"
    fi
    [ "$SECONDS" -lt "$give_up" ] ||
      die "$scratch/port: no port from the server after $START_LIMIT_S s;" \
        "its log is $server_log"
    sleep 0.2
  done
  kill "$tail_pid" 2>/dev/null || true
  unlock_parent
  address=127.0.0.1:$(cat "$scratch/port")
  echo "listening on $address, log in $server_log"
}

client() {
  local command=$1
  shift
  "$bin/server/client/anyprec" "$command" --address="$address" --json "$@"
}

# Says what the client's JSON says went wrong.
show_failure() {
  cat "$1" >&2
  echo >&2
  kill -0 "$server_pid" 2>/dev/null || tail -n 20 "$server_log" >&2
}

# ask NAME FLAGS...: puts the question; keeps the answer as NAME.json and the
# server's state after it as NAME.model.json.
ask() {
  local name=$1
  shift
  client "$command" --temperature=0 --max_tokens="$ANSWER_TOKENS" "$@" \
    "$question" >"$scratch/$name.json" || return 1
  client model >"$scratch/$name.model.json"
}

ask_at_every_precision() {
  local table=("$repository/deploy/quickstart_table.py" "$scratch")
  client model >"$scratch/model.json"
  command=chat question=$QUESTION
  # Models without a chat template only continue texts.
  if [ "$(python3 "${table[@]}" has_chat_template)" = False ]; then
    command=generate question=$STORY_OPENING
  fi
  say "Asking: $question"
  local bits
  for bits in 3 4 6 8; do
    echo "at $bits bits ..."
    ask "$bits" --bits="$bits" || {
      show_failure "$scratch/$bits.json"
      die "no answer at $bits bits"
    }
  done
  local deadline_ms
  deadline_ms=$(python3 "${table[@]}" deadline)
  echo "within $deadline_ms ms ..."
  until ask deadline --deadline_ms="$deadline_ms"; do
    if ! grep -q DEADLINE_EXCEEDED "$scratch/deadline.json" ||
      [ "$deadline_ms" -ge 600000 ]; then
      show_failure "$scratch/deadline.json"
      die "no answer within $deadline_ms ms"
    fi
    # The machine has become busier since the fixed precisions were timed.
    deadline_ms=$((deadline_ms * 2))
    echo "missed; within $deadline_ms ms ..."
  done
  echo
  python3 "${table[@]}" table
}

main() {
  parse_flags "$@"
  "$repository/deploy/install_packages.sh"
  scratch=$(mktemp -d)
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  build
  [ -n "$model" ] || choose_model
  quantize
  start_server
  ask_at_every_precision
  if [ "$serve" = 1 ]; then
    say "The server stays up until Ctrl-C. From another terminal:"
    echo "$bin/server/client/anyprec $command --address=$address --bits=4" \
      "\"$question\""
    wait "$server_pid"
  fi
}

main "$@"
