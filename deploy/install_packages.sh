#!/usr/bin/env bash
# Installs the Debian 12 (or Ubuntu 24.04) packages that Anyprec needs.
#
#   deploy/install_packages.sh             what the build and the quickstart need
#   deploy/install_packages.sh --tests     that, and the linters, the Prometheus and
#                                          the CUDA compiler of tests/run.sh
#   deploy/install_packages.sh --peers     the same, and what tests/bench/peers.sh needs
#   deploy/install_packages.sh --runtime   only what a built server needs to run
#
# Needs root or sudo, and asks nothing. Where all of it is already there it
# returns at once and touches no network. What comes from PyPI goes into the
# checkout's .cache.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the binaries do not link statically: see deploy/bazel/pkg_config.bzl.
readonly RUNTIME_PACKAGES=(
  libhwy1
  libprometheus-cpp-pull1.0
  libsentencepiece0
)

readonly BUILD_PACKAGES=(
  bazel-bootstrap
  ca-certificates
  g++
  libabsl-dev
  libbenchmark-dev
  libgmock-dev
  libgrpc++-dev
  libgtest-dev
  libhwy-dev
  libpcre2-dev
  libprotobuf-dev
  libsentencepiece-dev
  libspdlog-dev
  nlohmann-json3-dev
  pkg-config
  prometheus-cpp-dev
  protobuf-compiler
  protobuf-compiler-grpc
  python3
  python3-pip
)

readonly TEST_PACKAGES=(
  clang-format
  git
  prometheus
  shellcheck
)

# From PyPI: Debian's looks into every system header, at twice the time.
readonly CLANG_TIDY=clang_tidy-23.1.4
readonly TOOLS=.cache/tools
readonly CUDA=.cache/cuda

readonly PEER_PACKAGES=(
  python3-venv
)

usage() {
  echo "usage: $0 [--tests | --peers | --runtime]" >&2
  exit 2
}

# The names that a dependency could ask for and find: of installed packages, and
# of what they provide. Ubuntu 24.04's libhwy1t64 provides libhwy1.
installed_names() {
  dpkg-query -W -f='${db:Status-Status} ${Package}, ${Provides}\n' |
    sed -n 's/^installed //p' | tr ',' '\n' | sed 's/^ *//; s/[ :(].*//'
}

run_as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "$0: needs root or sudo to install packages" >&2
    exit 1
  fi
}

install_packages() {
  # openjdk, which bazel-bootstrap needs, fails to configure without this
  # folder, and slim images leave it out.
  run_as_root mkdir -p /usr/share/man/man1
  # A fresh machine's own updater may hold dpkg's lock for a while.
  local apt=(env DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=120)
  run_as_root "${apt[@]}" update </dev/null
  run_as_root "${apt[@]}" install -y --no-install-recommends "$@" </dev/null
}

install_clang_tidy() {
  [ ! -d "$TOOLS/$CLANG_TIDY.dist-info" ] || return 0
  rm -rf "$TOOLS"
  python3 -m pip install --no-deps --only-binary=:all: --no-cache-dir \
    --disable-pip-version-check --root-user-action=ignore --quiet \
    --target "$TOOLS" "${CLANG_TIDY/-/==}"
}

# Where deploy/bazel/cuda_configure.bzl looks for one.
has_cuda() {
  local folder
  for folder in "${CUDA_HOME-}" "${CUDA_PATH-}" "$CUDA" /usr/local/cuda; do
    [ -z "$folder" ] || [ ! -x "$folder/bin/nvcc" ] || return 0
  done
  return 1
}

install_cuda() {
  ! has_cuda || return 0
  deploy/install_cuda.sh "$CUDA"
  # A server of Bazel's that runs already would not look again.
  bazel shutdown
}

main() {
  local packages=("${BUILD_PACKAGES[@]}")
  case "${1-}" in
    '') ;;
    --tests) packages+=("${TEST_PACKAGES[@]}") ;;
    --peers) packages+=("${PEER_PACKAGES[@]}") ;;
    --runtime) packages=("${RUNTIME_PACKAGES[@]}") ;;
    *) usage ;;
  esac
  [ $# -le 1 ] || usage
  if ! command -v apt-get >/dev/null; then
    echo "$0: this machine has no apt-get; install by hand:" \
      "${packages[*]}" >&2
    exit 1
  fi

  local missing=()
  local names package
  names=$(installed_names)
  for package in "${packages[@]}"; do
    grep -qxF "$package" <<<"$names" || missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing ${#missing[@]} packages: ${missing[*]}"
    install_packages "${missing[@]}"
  fi
  if [ "${1-}" = --tests ]; then
    install_clang_tidy
    install_cuda
  fi
}

main "$@"
