#!/usr/bin/env bash
# Makes a folder that runs on another machine: the programs built for NVIDIA GPUs,
# the shared libraries they need, a small model, and run.sh, which tests and
# measures them there.
#
#   deploy/bundle.sh FOLDER
#
# FOLDER must be new, or an earlier bundle, which is replaced. The other machine
# needs x86-64, the glibc of this one or a later, and for --device=cuda NVIDIA's
# driver; the CUDA runtime is linked statically. Programs find their libraries
# beside themselves, wherever FOLDER is moved.
set -euo pipefail
cd "$(dirname "$0")/.."

# What a bundle holds. Benchmarks of kernels/cuda come by themselves.
readonly PROGRAMS=(
  //server:anyprec-server
  //server/client:anyprec
  //quantize:anyprec-quantize
  //tests/load:anyprec-loadtest
  //tests/gpu:gpu-suite
  //tests/bench:engine_benchmark
)
readonly BENCHMARKS='filter("benchmark$", kind("cc_binary", //kernels/cuda:all))'
readonly MODEL=tests/testdata/tiny-llama
# Small enough to be carried over any line.
readonly LIMIT_MB=60

# Old dtags: a RUNPATH would not be searched for the libraries' own libraries.
# shellcheck disable=SC2016 # $ORIGIN is for the dynamic linker.
readonly OPTIONS=(-c opt --config=cuda
  '--linkopt=-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib')

if [ $# != 1 ] || [[ $1 == -* ]]; then
  echo "usage: $0 FOLDER" >&2
  exit 2
fi
folder=$(realpath -m "$1")
if [ -e "$folder" ] && [ ! -x "$folder/bin/anyprec-server" ]; then
  echo "$0: $folder is there and is no bundle" >&2
  exit 1
fi
if [ ! -d "$(dirname "$folder")" ]; then
  echo "$0: there is no folder $(dirname "$folder")" >&2
  exit 1
fi

benchmarks=$(bazel query --noshow_progress "$BENCHMARKS")
mapfile -t targets < <(printf '%s\n' "${PROGRAMS[@]}" "$benchmarks" | sed '/^$/d')
bazel build "${OPTIONS[@]}" "${targets[@]}"
bin=$(bazel info "${OPTIONS[@]}" bazel-bin)

made=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$made"' EXIT
chmod 755 "$made"
mkdir "$made/bin" "$made/lib"
for target in "${targets[@]}"; do
  path=${target#//}
  install -m 755 "$bin/${path/://}" "$made/bin/"
done
strip --strip-all "$made"/bin/*

# All but glibc, which belongs to the machine that it runs on.
ldd "$made"/bin/* | awk '$3 ~ /^\// { print $3 }' | sort -u |
  grep -vE '/(libc|libm|libpthread|libdl|librt|libresolv)\.so\.' |
  xargs -r -d '\n' cp -L -t "$made/lib"

mkdir "$made/tiny-llama"
cp "$MODEL"/*.json "$MODEL"/model.safetensors "$MODEL"/tokenizer.model \
  "$made/tiny-llama"
install -m 755 tests/gpu/run.sh "$made/"

bytes=$(du -sb "$made" | cut -f1)
if [ "$bytes" -ge $((LIMIT_MB * 1000000)) ]; then
  du -ab "$made" | sort -rn | head >&2
  echo "$0: the bundle has $bytes bytes, needs less than $LIMIT_MB MB" >&2
  exit 1
fi
glibc=$(objdump -T "$made"/bin/* "$made"/lib/* | grep -oE 'GLIBC_[0-9.]+' |
  sort -uV | tail -n 1)
rm -rf "$folder"
mv "$made" "$folder"
echo "$folder: $bytes bytes, needs glibc ${glibc#GLIBC_} or later"
