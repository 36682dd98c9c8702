#!/usr/bin/env bash
# Installs a CUDA compiler from PyPI into FOLDER, with no vendor repository.
#
#   deploy/install_cuda.sh FOLDER
#   CUDA_HOME=FOLDER bazel build --config=cuda //...
#
# FOLDER gets the layout of a CUDA toolkit: bin/nvcc, include, lib64, nvvm. The
# wheels take 300 MB. Building needs no GPU.
set -euo pipefail

readonly VERSION='13.0.*'
readonly WHEELS=(
  "nvidia-cuda-cccl==$VERSION"
  "nvidia-cuda-crt==$VERSION"
  "nvidia-cuda-nvcc==$VERSION"
  "nvidia-cuda-runtime==$VERSION"
  "nvidia-nvvm==$VERSION"
)

if [ $# != 1 ] || [[ $1 == -* ]]; then
  echo "usage: $0 FOLDER" >&2
  exit 2
fi
mkdir -p "$1"
folder=$(realpath "$1")
if [ -x "$folder/bin/nvcc" ]; then
  echo "$folder: $("$folder/bin/nvcc" --version | tail -n 1)"
  exit 0
fi

rm -rf "$folder/wheels"
python3 -m pip install --no-deps --only-binary=:all: --no-cache-dir \
  --disable-pip-version-check --root-user-action=ignore --quiet \
  --target "$folder/wheels" "${WHEELS[@]}"
ln -sfn lib "$folder/lib64"
for part in include lib nvvm bin; do  # bin last: it says that all is there
  ln -sfn "wheels/nvidia/cu13/$part" "$folder/$part"
done
"$folder/bin/nvcc" --version
