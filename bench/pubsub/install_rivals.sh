#!/bin/sh
# Installs what fovea-bench-pubsub compares with. The product and its tests do without.
set -eu
sudo=$([ "$(id -u)" -eq 0 ] || echo sudo)
$sudo apt-get install -y --no-install-recommends libiceoryx-posh-dev iceoryx
echo "configure again, so that the bench finds iceoryx: cmake -B build/release && ninja -C build/release fovea-bench-pubsub"
