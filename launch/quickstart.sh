#!/usr/bin/env bash
# Four cameras of recorded video in, detections out. Installs what is missing, builds, runs until Ctrl-C.
#
#   launch/quickstart.sh [--duration S] [--json FILE] [--domain NAME] [key:=value ...]
#
#   --duration S     stop by itself after S seconds of running
#   --json FILE      also write the final figures as JSON
#   --domain NAME    run beside another pipeline on this machine
#   key:=value       arguments of launch/four_cameras.launch.yaml: video, model, rate, ... (see
#                    `build/release/bin/fovea launch launch/four_cameras.launch.yaml --show-args`)
set -euo pipefail
cd "$(dirname "$0")/.."

for option in "$@"; do
  case "$option" in
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
  esac
done

launch/dependencies.sh build

if [ ! -f build/release/build.ninja ]; then
  echo "-- configuring build/release"
  mkdir -p build
  cmake -C .cmake/release.cmake -S . -B build/release -G Ninja -DFOVEA_BUILD_TESTS=OFF \
    -DFOVEA_BUILD_BENCH=OFF >build/release.configure.log 2>&1 || { cat build/release.configure.log; exit 1; }
fi
if ! ninja -C build/release -n all | grep -q 'no work to do'; then
  echo "-- building (a few minutes the first time)"
  cmake --build build/release
fi

# Debian's own recording of pedestrians, 768x576, taken out of its package without installing the other
# 270 MB of it. $FOVEA_VIDEO names another file.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fovea
video=${FOVEA_VIDEO:-$cache/vtest.avi}
if [ ! -s "$video" ] && [ -z "${FOVEA_VIDEO:-}" ]; then
  echo "-- fetching the demo video (Debian package opencv-doc, 96 MB)"
  mkdir -p "$cache"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  if (cd "$scratch" && { [ "$(id -u)" -ne 0 ] || chown _apt . 2>/dev/null || true; } &&
      apt-get download -qq opencv-doc >apt.log 2>&1 &&
      dpkg-deb --fsys-tarfile opencv-doc_*.deb |
        tar -xO ./usr/share/doc/opencv-doc/examples/data/vtest.avi >vtest.avi); then
    mv "$scratch/vtest.avi" "$video"
  else
    echo "-- the demo video cannot be had here ($(tail -n 1 "$scratch/apt.log" 2>/dev/null)); using synthetic://"
  fi
  rm -rf "$scratch"
  trap - EXIT
fi

arguments=()
# The demo model runs in INT8, from the calibration table that lies beside it.
if [[ " $* " != *" model:="* && " $* " != *" precision:="* ]]; then
  arguments+=(precision:=int8 "calibration:=$PWD/config/models/yolov8n_demo_dynamic.calibration.json")
fi
if [ -s "$video" ] && [[ " $* " != *" video:="* ]]; then
  arguments+=("video:=file://$(realpath "$video")")
fi
exec build/release/bin/fovea launch launch/four_cameras.launch.yaml "${arguments[@]}" "$@"
