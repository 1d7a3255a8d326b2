#!/usr/bin/env bash
# Installs the Debian 12 packages that Fovea needs and that are missing. Safe to run again: with nothing
# missing it asks for nothing and touches nothing.
#
#   launch/dependencies.sh build          what building and running needs
#   launch/dependencies.sh build test     also what the tests and benches need
set -euo pipefail

build_packages=(
  g++ cmake ninja-build pkg-config
  libzmq3-dev cppzmq-dev libzstd-dev zlib1g-dev libjpeg-dev libopencv-dev libyaml-cpp-dev libspdlog-dev libfmt-dev
  libexpected-dev libcli11-dev nlohmann-json3-dev
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
  libonnx-dev libprotobuf-dev protobuf-compiler libdnnl-dev libhwy-dev libssl-dev
)
test_packages=(
  git ccache python3-venv libgtest-dev libgmock-dev libbenchmark-dev
  libgstrtspserver-1.0-dev gstreamer1.0-plugins-base gstreamer1.0-plugins-good
)

packages=()
for group in "$@"; do
  case "$group" in
    build) packages+=("${build_packages[@]}") ;;
    test) packages+=("${test_packages[@]}") ;;
    *) echo "dependencies.sh: unknown group '$group'; valid: build, test" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null; then
  as_root=(sudo)
else
  echo "error: these packages are missing and neither root nor sudo is at hand: ${missing[*]}" >&2
  exit 1
fi
echo "-- installing ${#missing[@]} packages: ${missing[*]}"
# With the installer's lock held elsewhere or a mirror that does not answer these would wait for ever.
patience=(-o DPkg::Lock::Timeout=120 -o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60 -o Acquire::Retries=2)
"${as_root[@]}" apt-get "${patience[@]}" update -qq ||
  echo "-- the list of packages could not be renewed (apt-get update); installing from the present one" >&2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get "${patience[@]}" install -y -qq --no-install-recommends \
  "${missing[@]}" >/dev/null
