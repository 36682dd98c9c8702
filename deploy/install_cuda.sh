#!/usr/bin/env bash
# Installs a CUDA compiler from PyPI into FOLDER, with no vendor repository.
#
#   deploy/install_cuda.sh FOLDER
#   CUDA_HOME=FOLDER bazel build --config=cuda //...
#
# FOLDER gets the layout of a CUDA toolkit: bin/nvcc, include, lib64, nvvm. The
# wheels take 300 MB. Another version that this script put there is replaced.
# Building needs no GPU.
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
  version=$("$folder/bin/nvcc" --version)
  if [[ $version == *"release ${VERSION%.*},"* ]]; then
    echo "$folder: $(tail -n 1 <<<"$version")"
    exit 0
  fi
  if [ ! -d "$folder/wheels" ]; then
    echo "$0: $folder holds another toolkit, not of this script's making:" >&2
    echo "$version" >&2
    exit 1
  fi
  rm "$folder/bin"
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
