#!/usr/bin/env bash
# Compares Anyprec with llama.cpp on this machine, interleaved in one run, and
# prints a table; the figures go to a JSON file as well.
#
#   tests/bench/peers.sh [--threads=2] [--rounds=5] [--only=random|smollm2]
#                        [--json=FILE]
#
# llama.cpp is built from the source in the PyPI package llama-cpp-python for
# this processor, as its own default is (GGML_NATIVE), but without AMX: with it
# this version dies of an illegal instruction (tilezero in
# ggml_backend_amx_mul_mat). The first run takes some ten minutes to build and to
# make models in ${XDG_CACHE_HOME:-~/.cache}/anyprec/peers.
set -euo pipefail

readonly LLAMA_CPP_PYTHON=0.3.36
start_folder=$PWD
cd "$(dirname "$0")/../.."
peers=${XDG_CACHE_HOME:-$HOME/.cache}/anyprec/peers
threads=2 rounds=5 only='' json=$peers/peers.json

die() {
  echo "peers.sh: $*" >&2
  exit 2
}

for arg in "$@"; do
  case $arg in
    --threads=*) threads=${arg#*=} ;;
    --rounds=*) rounds=${arg#*=} ;;
    --only=*) only=$arg ;;
    --json=*) json=${arg#*=} ;;
    -h | --help)
      sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"
      exit 0
      ;;
    *) die "unknown option $arg (see --help)" ;;
  esac
done
[[ $threads =~ ^[1-9][0-9]*$ ]] || die "--threads is $threads, must be positive"
[[ $rounds =~ ^[1-9][0-9]*$ ]] || die "--rounds is $rounds, must be positive"
[[ $only =~ ^(|--only=random|--only=smollm2)$ ]] ||
  die "$only: must be random or smollm2"
[[ $json = /* ]] || json=$start_folder/$json

deploy/install_packages.sh --peers
mkdir -p "$peers"
if [ ! -x "$peers/venv/bin/ninja" ]; then
  python3 -m venv "$peers/venv"
  "$peers/venv/bin/pip" install -q cmake ninja gguf numpy scikit-build-core
fi
# Called by their paths: another PATH would make Bazel build everything anew.
readonly tools=$peers/venv/bin

build=$peers/llama.cpp-$LLAMA_CPP_PYTHON
if [ ! -x "$build/bin/llama-quantize" ] ||
  [ ! -x "$build/bin/llama-batched-bench" ]; then
  echo "building llama.cpp ..." >&2
  "$tools/pip" download -q --no-deps --no-binary :all: --no-build-isolation \
    -d "$peers" "llama-cpp-python==$LLAMA_CPP_PYTHON"
  tar -C "$peers" -xf "$peers/llama_cpp_python-$LLAMA_CPP_PYTHON.tar.gz"
  isa=(-DGGML_NATIVE=ON)
  if grep -qw amx_tile /proc/cpuinfo; then
    # All that such processors have besides.
    isa=(-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON
      -DGGML_BMI2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX_VNNI=ON
      -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON
      -DGGML_AVX512_BF16=ON)
  fi
  "$tools/cmake" -S "$peers/llama_cpp_python-$LLAMA_CPP_PYTHON/vendor/llama.cpp" \
    -B "$build" -G Ninja -DCMAKE_MAKE_PROGRAM="$tools/ninja" \
    -DCMAKE_BUILD_TYPE=Release "${isa[@]}" \
    -DLLAMA_CURL=OFF -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
  "$tools/cmake" --build "$build" --target llama-batched-bench llama-quantize
fi

# requantize INPUT TYPE OUTPUT
requantize() {
  echo "quantizing $1 to $2 ..." >&2
  if ! "$build/bin/llama-quantize" --allow-requantize "$1" "$3.part" "$2" \
    >"$peers/quantize.log" 2>&1; then
    tail -n 20 "$peers/quantize.log" >&2
    return 1
  fi
  mv "$3.part" "$3"
}

# quantize MODEL TYPE: makes $peers/MODEL.type.gguf from MODEL.f16.gguf.
quantize() {
  local file
  file=$peers/$1.$(printf %s "$2" | tr '[:upper:]' '[:lower:]').gguf
  [ -f "$file" ] && return
  requantize "$peers/$1.f16.gguf" "$2" "$file"
}

if [ "$only" != --only=smollm2 ]; then
  if [ ! -f "$peers/random-1.1b.f16.gguf" ]; then
    echo "making a random 1.1B model ..." >&2
    "$tools/python" tests/bench/random_llama_gguf.py "$peers/random.part"
    mv "$peers/random.part" "$peers/random-1.1b.f16.gguf"
  fi
  for type in Q3_K_M Q4_0 Q4_K_M Q8_0; do quantize random-1.1b "$type"; done
fi
if [ "$only" != --only=random ]; then
  smollm2=$(deploy/fetch_smollm2.sh)
  bazel build -c opt //quantize:anyprec-quantize
  # Made anew each time, in seconds, as our format may have changed. Speed is
  # what is wanted: no calibration.
  "$(bazel info -c opt bazel-bin)/quantize/anyprec-quantize" \
    --input="$smollm2" --output="$peers/smollm2.parent" --overwrite \
    --sensitivity=uniform --lm_head=int8
  [ -f "$peers/smollm2.f16.gguf" ] ||
    requantize "$smollm2" F16 "$peers/smollm2.f16.gguf"
  for type in Q4_0 Q8_0; do quantize smollm2 "$type"; done
fi

bazel build -c opt //server:anyprec-server //tests/bench:stream-benchmark
bin=$(bazel info -c opt bazel-bin)
"$tools/python" tests/bench/peers.py --server="$bin/server/anyprec-server" \
  --stream-benchmark="$bin/tests/bench/stream-benchmark" \
  --llama-bin="$build/bin" --models="$peers" \
  --smollm2="$peers/smollm2.parent" \
  --threads="$threads" --rounds="$rounds" \
  --json="$json" ${only:+"$only"}
echo "figures: $json" >&2
