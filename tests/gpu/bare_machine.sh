#!/usr/bin/env bash
# Shows that a bundle of deploy/bundle.sh runs on a machine that has nothing.
#
#   debootstrap --variant=minbase bookworm ROOT
#   tests/gpu/bare_machine.sh BUNDLE ROOT
#
# Enters the bare Debian 12 in the folder ROOT, with no network but a loopback of
# its own, and there runs the programs, quantizes the bundle's small model, serves
# it on the CPU to its client, and asks for a GPU, of which there must be none: no
# driver is in ROOT. Needs root.
set -euo pipefail

# What runs inside: BUNDLE is at /bundle.
inside() {
  set -euo pipefail
  export PATH=/bundle/bin:/usr/bin:/bin
  fail() { echo "FAILED: $*"; exit 1; }

  echo "== programs start"
  for program in /bundle/bin/*; do
    ! ldd "$program" | grep 'not found' || fail "$program lacks libraries"
  done
  anyprec-server --version
  for program in anyprec-server anyprec anyprec-quantize anyprec-loadtest; do
    "$program" --help >/tmp/help || fail "$program --help"
    [ -s /tmp/help ] || fail "$program --help says nothing"
  done

  echo "== the small model is quantized"
  anyprec-quantize --input=/bundle/tiny-llama --output=/tmp/model \
    --sensitivity=uniform >/tmp/out 2>&1 || fail "$(cat /tmp/out)"

  echo "== it answers on the CPU"
  anyprec-server --model=/tmp/model --device=cpu --warm_up=0 \
    --port=0 --port_file=/tmp/port >/tmp/out 2>/tmp/log &
  server=$!
  for ((i = 0; i < 300; ++i)); do
    [ ! -s /tmp/port ] || break
    kill -0 "$server" 2>/dev/null || fail "$(cat /tmp/log)"
    sleep 0.1
  done
  [ -s /tmp/port ] || fail "the server does not listen: $(cat /tmp/log)"
  answer=$(anyprec generate --address="127.0.0.1:$(cat /tmp/port)" --bits=4 \
    --temperature=0 --max_tokens=20 "Once upon a time")
  echo "$answer"
  [ -n "$answer" ] || fail "an empty answer"
  kill "$server"
  wait "$server" || fail "the server's end: $(cat /tmp/log)"

  # fails_with_one_line TEXT COMMAND...
  fails_with_one_line() {
    local text=$1 status=0
    shift
    "$@" >/tmp/out 2>/tmp/log || status=$?
    cat /tmp/log
    [ "$status" = 1 ] || fail "exit $status, not 1"
    [ "$(wc -l </tmp/log)" = 1 ] || fail "not one line"
    grep -q "$text" /tmp/log || fail "no \"$text\""
  }
  echo "== there is no GPU"
  fails_with_one_line 'no NVIDIA driver' \
    anyprec-server --model=/tmp/model --device=cuda --port=0
  fails_with_one_line 'no NVIDIA driver' gpu-suite
  echo "passed"
}

if [ $# != 2 ]; then
  echo "usage: $0 BUNDLE ROOT" >&2
  exit 2
fi
bundle=$(realpath "$1") root=$(realpath "$2")
if [ ! -x "$bundle/bin/anyprec-server" ]; then
  echo "$0: $bundle is no bundle" >&2
  exit 1
fi
if [ ! -e "$root/etc/debian_version" ]; then
  echo "$0: $root is no Debian" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "$0: needs root" >&2
  exit 1
fi
mkdir -p "$root/bundle"
# Its mounts end with its namespace; the loopback is down at first.
# shellcheck disable=SC2016 # Expanded inside.
unshare --mount --pid --net --fork --kill-child bash -euo pipefail -c '
  mount --bind "$2" "$1/bundle"
  mount -t proc proc "$1/proc"
  mount -t tmpfs tmpfs "$1/tmp"
  ip link set lo up
  exec chroot "$1" /bin/bash -c "$3; inside"' \
  "$0" "$root" "$bundle" "$(declare -f inside)"
