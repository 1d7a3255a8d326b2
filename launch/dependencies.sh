#!/usr/bin/env bash
# Installs the Debian 12 packages that Fovea needs and that are missing. Safe to run again: with nothing
# missing it asks for nothing and touches nothing.
#
#   launch/dependencies.sh build          what building and running needs
#   launch/dependencies.sh build test     also what the tests and benches need
set -euo pipefail

build_packages=(
  g++ cmake ninja-build pkg-config
  libzmq3-dev cppzmq-dev libzstd-dev zlib1g-dev libopencv-dev libyaml-cpp-dev libspdlog-dev libfmt-dev
  libexpected-dev libcli11-dev nlohmann-json3-dev
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
  libonnx-dev libprotobuf-dev protobuf-compiler libdnnl-dev libhwy-dev libssl-dev
)
test_packages=(
  git libgtest-dev libgmock-dev libbenchmark-dev
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

# The MCAP project's own reader, for one test of recordings; that test skips, with a notice, without it.
install_mcap_core() {
  local folder="${HOME:-/root}/.cache/fovea/mcap_core" source
  source="$(dirname "$0")/../tests/bag/mcap_core/package.json"
  cmp -s "$source" "$folder/package.json" && [ -d "$folder/node_modules" ] && return 0
  command -v npm >/dev/null || { echo "-- no npm: the test with @mcap/core will be skipped"; return 0; }
  mkdir -p "$folder" && cp "$source" "$folder/" &&
    npm install --prefix "$folder" --no-audit --no-fund --silent >/dev/null 2>&1 ||
    { echo "-- npm install failed: the test with @mcap/core will be skipped"; rm -rf "$folder"; }
}
case " $* " in *" test "*) install_mcap_core ;; esac

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
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
  "${missing[@]}" >/dev/null
