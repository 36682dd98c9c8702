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
cd "$(dirname "$0")/../.."
peers=${XDG_CACHE_HOME:-$HOME/.cache}/anyprec/peers
threads=2 rounds=5 only='' json=$peers/peers.json

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
    *)
      echo "peers.sh: unknown option $arg (see --help)" >&2
      exit 2
      ;;
  esac
done

mkdir -p "$peers"
if [ ! -x "$peers/venv/bin/ninja" ]; then
  python3 -m venv "$peers/venv"
  "$peers/venv/bin/pip" install -q cmake ninja gguf numpy scikit-build-core
fi
export PATH=$peers/venv/bin:$PATH

build=$peers/llama.cpp-$LLAMA_CPP_PYTHON
if [ ! -x "$build/bin/llama-quantize" ]; then
  echo "building llama.cpp ..." >&2
  pip download -q --no-deps --no-binary :all: --no-build-isolation \
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
  cmake -S "$peers/llama_cpp_python-$LLAMA_CPP_PYTHON/vendor/llama.cpp" \
    -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "${isa[@]}" \
    -DLLAMA_CURL=OFF -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
  cmake --build "$build" --target llama-batched-bench llama-quantize
fi

# quantize MODEL TYPE: makes $peers/MODEL.type.gguf from MODEL.f16.gguf.
quantize() {
  local file
  file=$peers/$1.$(printf %s "$2" | tr '[:upper:]' '[:lower:]').gguf
  [ -f "$file" ] && return
  echo "quantizing $1 to $2 ..." >&2
  "$build/bin/llama-quantize" --allow-requantize "$peers/$1.f16.gguf" \
    "$file.part" "$2" >"$peers/quantize.log" 2>&1
  mv "$file.part" "$file"
}

if [ "$only" != --only=smollm2 ]; then
  if [ ! -f "$peers/random-1.1b.f16.gguf" ]; then
    echo "making a random 1.1B model ..." >&2
    python tests/bench/random_llama_gguf.py "$peers/random.part"
    mv "$peers/random.part" "$peers/random-1.1b.f16.gguf"
  fi
  for type in Q3_K_M Q4_0 Q4_K_M Q8_0; do quantize random-1.1b "$type"; done
fi
if [ "$only" != --only=random ]; then
  smollm2=$(deploy/fetch_smollm2.sh)
  if [ ! -d "$peers/smollm2.parent" ]; then
    bazel build -c opt //quantize:anyprec-quantize
    # Speed is what is wanted: no calibration.
    rm -rf "$peers/parent.part"
    bazel-bin/quantize/anyprec-quantize --input="$smollm2" \
      --output="$peers/parent.part" --sensitivity=uniform --lm_head=int8
    mv "$peers/parent.part" "$peers/smollm2.parent"
  fi
  if [ ! -f "$peers/smollm2.f16.gguf" ]; then
    "$build/bin/llama-quantize" --allow-requantize "$smollm2" \
      "$peers/smollm2.part" F16 >"$peers/quantize.log" 2>&1
    mv "$peers/smollm2.part" "$peers/smollm2.f16.gguf"
  fi
  for type in Q4_0 Q8_0; do quantize smollm2 "$type"; done
fi

bazel build -c opt //server:anyprec-server //tests/bench:stream-benchmark
python tests/bench/peers.py --server="bazel-bin/server/anyprec-server" \
  --stream-benchmark="bazel-bin/tests/bench/stream-benchmark" \
  --llama-bin="$build/bin" --models="$peers" \
  --smollm2="$peers/smollm2.parent" \
  --threads="$threads" --rounds="$rounds" \
  --json="$json" ${only:+"$only"}
echo "figures: $json" >&2
