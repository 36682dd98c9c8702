#!/usr/bin/env bash
# Installs a CUDA compiler from PyPI into FOLDER, with no vendor repository.
#
#   deploy/install_cuda.sh FOLDER
#   CUDA_HOME=FOLDER bazel build --config=cuda //...
#
# FOLDER gets the layout of a CUDA toolkit: bin/nvcc, include, lib64, nvvm. The
# wheels take 300 MB and need python3-venv. Building needs no GPU.
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

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --disable-pip-version-check --no-cache-dir \
  "${WHEELS[@]}"
toolkit=$(echo "$folder"/venv/lib/python3*/site-packages/nvidia/cu13)
for part in bin include nvvm; do
  ln -sfn "$toolkit/$part" "$folder/$part"
done
ln -sfn "$toolkit/lib" "$folder/lib64"
"$folder/bin/nvcc" --version
