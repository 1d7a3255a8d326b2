#!/usr/bin/env bash
# Installs the Debian 12 packages that Fovea needs and that are missing. Safe to run again: with nothing
# missing it asks for nothing and touches nothing.
#
#   launch/dependencies.sh build          what building and running needs
#   launch/dependencies.sh build test     also what the tests and benches need
#   launch/dependencies.sh arm64          cross compiler, emulator, and Debian's arm64 libraries in
#                                         build/arm64_sysroot (260 MB); without OpenCV and FFmpeg
#   launch/dependencies.sh arm64-full     the same with OpenCV and FFmpeg (1.2 GB)
set -euo pipefail

build_tools=(g++ cmake ninja-build pkg-config protobuf-compiler)
build_libraries=(
  libzmq3-dev cppzmq-dev libzstd-dev zlib1g-dev libyaml-cpp-dev libspdlog-dev libfmt-dev
  libexpected-dev libcli11-dev nlohmann-json3-dev
  libonnx-dev libprotobuf-dev libhwy-dev libssl-dev
)
picture_libraries=(libjpeg-dev libopencv-dev libavformat-dev libavcodec-dev libavutil-dev libswscale-dev)
test_libraries=(libgtest-dev libgmock-dev)
test_packages=(
  git ccache python3-venv libbenchmark-dev
  libgstrtspserver-1.0-dev gstreamer1.0-plugins-base gstreamer1.0-plugins-good
)
arm64_tools=(g++-aarch64-linux-gnu qemu-user mmdebstrap cmake ninja-build pkg-config)

packages=()
sysroot_libraries=()
for group in "$@"; do
  case "$group" in
    build) packages+=("${build_tools[@]}" "${build_libraries[@]}" "${picture_libraries[@]}" libdnnl-dev) ;;
    test) packages+=("${test_libraries[@]}" "${test_packages[@]}") ;;
    arm64) packages+=("${arm64_tools[@]}"); sysroot_libraries=("${build_libraries[@]}" "${test_libraries[@]}") ;;
    arm64-full)
      packages+=("${arm64_tools[@]}")
      sysroot_libraries=("${build_libraries[@]}" "${test_libraries[@]}" "${picture_libraries[@]}") ;;
    *) echo "dependencies.sh: unknown group '$group'; valid: build, test, arm64, arm64-full" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
# With the installer's lock held elsewhere or a mirror that does not answer apt-get would wait for ever.
patience=(-o DPkg::Lock::Timeout=120 -o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60 -o Acquire::Retries=2)
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}
install_missing() {
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "error: these packages are missing and neither root nor sudo is at hand: ${missing[*]}" >&2
    exit 1
  fi
  echo "-- installing ${#missing[@]} packages: ${missing[*]}"
  as_root apt-get "${patience[@]}" update -qq ||
    echo "-- the list of packages could not be renewed (apt-get update); installing from the present one" >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "${patience[@]}" install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
}
[ ${#missing[@]} -eq 0 ] || install_missing

# The system's archives of packages, as lines of sources.list.
sources() {
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Identifier: Packages' 'Origin: Debian' | sort -u
}

# Debian's arm64 libraries beside the system: as packages of the system, half of them would replace the
# build's own. Unpacked only, as a build and an emulator need no more; from where the system's packages come.
make_sysroot() {
  local folder=$1 source_list wanted library mode
  shift
  wanted="libc6-dev libstdc++-12-dev $*"
  # One with more, of another group, does as well.
  local present=" $(cat "$folder/packages" 2>/dev/null || true) " complete=yes
  for library in $wanted; do
    [[ $present = *" $library "* ]] || complete=no
  done
  [ "$complete" = no ] || return 0
  if [ -z "$(sources)" ]; then  # the system's list of packages was never read
    as_root apt-get "${patience[@]}" update -qq
  fi
  source_list=$(sources)
  [ -n "$source_list" ] || { echo "error: apt-get indextargets names no Debian archive" >&2; exit 1; }
  echo "-- Debian's arm64 libraries into $folder"
  rm -rf "$folder.new"
  mkdir -p "$(dirname "$folder")"
  apt-config dump | grep -E '^(Acquire::https?::|Acquire::Retries)' >"$folder.apt.conf" || true
  # Without root there is no chroot, and no need of one: nothing of the packages runs.
  mode=auto
  [ "$(id -u)" -eq 0 ] || mode=chrootless
  mmdebstrap --quiet --mode="$mode" --variant=extract --architectures=arm64 --include="${wanted// /,}" \
    --dpkgopt='path-exclude=/usr/share/*' --dpkgopt='path-include=/usr/share/pkgconfig/*' \
    --dpkgopt='path-include=/usr/share/cmake/*' --aptopt="$folder.apt.conf" \
    bookworm "$folder.new" - <<<"$source_list"
  rm "$folder.apt.conf"
  # What the packages' scripts would have done: libraries that may be chosen. And links stay inside.
  local link
  for library in "$folder.new"/usr/lib/aarch64-linux-gnu/{blas,lapack}/*.so.3; do
    [ ! -e "$library" ] || ln -s "$(basename "$(dirname "$library")")/$(basename "$library")" \
      "$folder.new/usr/lib/aarch64-linux-gnu/"
  done
  find "$folder.new/usr/lib" "$folder.new/lib" -lname '/*' | while read -r link; do
    ln -sfr "$folder.new$(readlink "$link")" "$link"
  done
  echo "$wanted" >"$folder.new/packages"
  rm -rf "$folder"
  mv "$folder.new" "$folder"
}
[ ${#sysroot_libraries[@]} -eq 0 ] ||
  make_sysroot "$(dirname "$0")/../build/arm64_sysroot" "${sysroot_libraries[@]}"
