#!/usr/bin/env bash
# Fails when an include climbs the layers, when a node includes a sibling, or when a third-party header
# appears outside the files that may have it. `layers.sh --self-test` proves that it can fail.
set -euo pipefail
cd "$(dirname "$0")/.."

# folder <TAB> project folders it may include (regex on the include path)
rules=(
  "msgs	msgs/"
  "nodes/base	nodes/base/"
  "nodes/runtime	msgs/|nodes/runtime/"
  "nodes/runtime/slots	msgs/|nodes/runtime/(slots/|[a-z_]+\.hpp)"
  "nodes/runtime/figures	msgs/|nodes/runtime/(slots/|figures/|[a-z_]+\.hpp)"
  "nodes/runtime/topics	msgs/|nodes/runtime/(slots/|figures/|topics/|[a-z_]+\.hpp)"
  "nodes/runtime/process	msgs/|nodes/runtime/(slots/|figures/|topics/|process/|[a-z_]+\.hpp)"
  "nodes/imaging	msgs/|nodes/imaging/"
  "nodes/bag	msgs/|nodes/runtime/|nodes/bag/|nodes/imaging/"
  "nodes/camera	msgs/|nodes/runtime/|nodes/camera/|nodes/imaging/|nodes/bag/(mcap|image_record)\.hpp"
  "nodes/detector/engine	nodes/detector/engine/"
  "nodes/detector	msgs/|nodes/runtime/|nodes/detector/|nodes/imaging/"
  "nodes/detector/accuracy	msgs/|nodes/detector/(engine/|accuracy/|[a-z_]+\.hpp)|nodes/imaging/"
  "nodes/detector/cache	msgs/|nodes/detector/(engine/|accuracy/|cache/|[a-z_]+\.hpp)|nodes/imaging/"
  "nodes/detector/serving	msgs/|nodes/detector/(engine/|accuracy/|cache/|serving/|[a-z_]+\.hpp)"
  "nodes/detector/tool	msgs/|nodes/detector/(engine/|accuracy/|cache/|tool/|[a-z_]+\.hpp)|nodes/imaging/"
  "nodes/detector/engine/plan	nodes/detector/engine/(plan/|[a-z_]+\.hpp)"
  "nodes/predict	msgs/|nodes/runtime/process/parameters\.hpp|nodes/predict/|nodes/imaging/|nodes/preprocess/(letterbox|preprocess_parameters)|nodes/postprocess/(decode_stage|options|postprocess_parameters)|nodes/detector/(engine/|accuracy/|cache/|tool/picture_reader\.hpp|[a-z_]+\.hpp)"
  "launch	msgs/|nodes/runtime/|launch/"
  "launch/language	nodes/runtime/|launch/(language/|install_paths\.hpp|supervision/child_process\.hpp)"
  "launch/supervision	nodes/runtime/|launch/(language/|supervision/)"
  "launch/looking	msgs/|nodes/runtime/|launch/(language/|supervision/|looking/)"
  "launch/bench	msgs/|nodes/runtime/|launch/|nodes/camera/frame_source\.hpp|nodes/detector/engine/plan/sha256\.hpp"
)
# Any other folder of nodes/ is a node: msgs, the runtime and its own.
# Not `printf | grep -q`: grep leaves at its first find, and printf may then die of SIGPIPE.
has_rule() { grep -q "^$1	" <<<"$(printf '%s\n' "${rules[@]}")"; }
# Calibration and verification must call the live run's own preprocessing and decoding objects, and
# compare turned boxes as its suppression does.
exceptions='^nodes/detector/(accuracy|tool)/[a-z_]*\.(cpp|hpp):.*"nodes/(preprocess/letterbox|postprocess/(nms|postprocessor|turned_box))\.hpp"'
# Algorithm files know no sockets: only *_node.cpp may use the runtime beyond fovea::base, and *_parameters.* its
# parameters.

check() {
  local root=$1 bad=0 folder allowed found
  cd "$root"
  report() { [ -z "$2" ] || { printf '%s\n%s\n' "$1" "$2"; bad=1; }; }
  local all=("${rules[@]}")
  for folder in nodes/*/; do
    folder=${folder%/}
    has_rule "$folder" || all+=("$folder	msgs/|nodes/runtime/|$folder/")
  done
  for rule in "${all[@]}"; do
    folder=${rule%%	*} allowed=${rule#*	}
    [ -d "$folder" ] || continue
    found=$(grep -rnE '^ *# *include *"' "$folder" --include='*.cpp' --include='*.hpp' |
      { case $folder in nodes/detector) grep -v '^nodes/detector/engine/' ;; launch) grep -v '^launch/bench/' ;; *) cat ;; esac || true; } |
      grep -vE "include *\"(nodes/base/|$allowed)" | grep -vE "$exceptions" || true)
    report "includes that climb out of $folder:" "$found"
  done
  found=$(grep -rnE '^ *# *include *"nodes/runtime/' nodes --include='*.cpp' --include='*.hpp' |
    grep -vE '^nodes/(runtime|detector)/' |
    grep -vE '(_node|bag_cli)\.cpp:|_topic\.(cpp|hpp):|_parameters\.(hpp|cpp):.*"nodes/runtime/process/parameters\.hpp"' || true)
  report "algorithms that know the runtime:" "$found"
  found=$(grep -rnE '# *include *[<"](opencv2|google/protobuf|nlohmann/json\.hpp|CLI/|yaml-cpp|onnx/|spdlog|zmq|oneapi|dnnl)' \
    msgs nodes launch --include='*.hpp' 2>/dev/null || true)
  report "heavy third-party includes in headers:" "$found"
  found=$(grep -rnE '# *include *[<"](onnx/|google/protobuf)' msgs nodes launch --include='*.cpp' 2>/dev/null |
    grep -v '^nodes/detector/engine/onnx/' || true)
  report "protobuf outside nodes/detector/engine/onnx/:" "$found"
  found=$(grep -rnE '# *include *[<"](opencv2|jpeglib|jerror|libav|libsw)' msgs nodes launch \
    --include='*.cpp' --include='*.hpp' 2>/dev/null | grep -vE '^nodes/imaging/[a-z_]*\.cpp:' || true)
  report "picture and video libraries outside nodes/imaging/*.cpp:" "$found"
  return $bad
}

if [ "${1:-}" = --self-test ]; then
  scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
  mkdir -p "$scratch"/nodes/{bag,camera,imaging,preprocess,runtime}
  echo '#include "nodes/preprocess/letterbox.hpp"' >"$scratch/nodes/camera/x.cpp"
  ! (check "$scratch" >/dev/null) || { echo "a sibling include was not found"; exit 1; }
  echo '#include "nodes/runtime/topics/pubsub.hpp"' >"$scratch/nodes/camera/x.cpp"
  ! (check "$scratch" >/dev/null) || { echo "an algorithm with sockets was not found"; exit 1; }
  echo '#include <opencv2/core.hpp>' >"$scratch/nodes/camera/x.hpp"; rm "$scratch/nodes/camera/x.cpp"
  ! (check "$scratch" >/dev/null) || { echo "OpenCV in a header was not found"; exit 1; }
  echo '#include <onnx/onnx_pb.h>' >"$scratch/nodes/camera/x.cpp"; rm "$scratch/nodes/camera/x.hpp"
  ! (check "$scratch" >/dev/null) || { echo "protobuf outside the parser was not found"; exit 1; }
  echo '#include <libavcodec/avcodec.h>' >"$scratch/nodes/camera/x.cpp"
  ! (check "$scratch" >/dev/null) || { echo "FFmpeg outside nodes/imaging was not found"; exit 1; }
  echo '#include <opencv2/core.hpp>' >"$scratch/nodes/imaging/x.cpp"; rm "$scratch/nodes/camera/x.cpp"
  (check "$scratch") || { echo "OpenCV in nodes/imaging was refused"; exit 1; }
  echo '#include "nodes/camera/frame_source.hpp"' >"$scratch/nodes/bag/x.cpp"
  ! (check "$scratch" >/dev/null) || { echo "a recording that knows cameras was not found"; exit 1; }
  rm "$scratch/nodes/bag/x.cpp"
  mkdir "$scratch/nodes/stranger"
  echo '#include "nodes/camera/frame_source.hpp"' >"$scratch/nodes/stranger/x_node.cpp"
  ! (check "$scratch" >/dev/null) || { echo "a new node that knows a sibling was not found"; exit 1; }
  echo '#include "nodes/runtime/process/node.hpp"' >"$scratch/nodes/stranger/x.cpp"; rm "$scratch/nodes/stranger/x_node.cpp"
  ! (check "$scratch" >/dev/null) || { echo "a new algorithm with sockets was not found"; exit 1; }
  mv "$scratch/nodes/stranger/x.cpp" "$scratch/nodes/stranger/x_node.cpp"
  echo '#include "nodes/base/result.hpp"' >"$scratch/nodes/camera/x.hpp"
  (check "$scratch") || { echo "a valid include was refused"; exit 1; }
  # One planted include for each rule: of the next room up, or of what no layer has.
  climbs=(
    "msgs nodes/runtime/domain.hpp" "nodes/base msgs/header.hpp" "nodes/runtime nodes/camera/frame_source.hpp"
    "nodes/runtime/slots nodes/runtime/figures/metrics.hpp" "nodes/runtime/figures nodes/runtime/topics/pubsub.hpp"
    "nodes/runtime/topics nodes/runtime/process/node.hpp" "nodes/runtime/process nodes/runtime/stages/stage_set.hpp"
    "nodes/imaging nodes/runtime/domain.hpp" "nodes/bag nodes/camera/frame_source.hpp"
    "nodes/camera nodes/bag/player.hpp" "nodes/detector/engine nodes/detector/class_names.hpp"
    "nodes/detector nodes/camera/frame_source.hpp" "nodes/detector/accuracy nodes/detector/cache/plan_cache.hpp"
    "nodes/detector/cache nodes/detector/serving/engine_server.hpp"
    "nodes/detector/serving nodes/detector/tool/npy.hpp" "nodes/detector/tool nodes/detector/serving/batcher.hpp"
    "nodes/detector/engine/plan nodes/detector/engine/cpu/cpu_engine.hpp" "nodes/predict nodes/runtime/topics/pubsub.hpp" "launch nodes/detector/class_names.hpp"
    "launch/language launch/looking/table.hpp" "launch/supervision launch/looking/table.hpp"
    "launch/looking launch/bench/report.hpp" "launch/bench nodes/detector/cache/plan_cache.hpp")
  for climb in "${climbs[@]}"; do
    folder=${climb%% *}
    rm -rf "$scratch"; mkdir -p "$scratch/nodes/camera" "$scratch/$folder"
    echo "#include \"${climb#* }\"" >"$scratch/$folder/x_node.cpp"
    grep -q "climb out of $folder:" <<<"$(check "$scratch" || true)" || { echo "not found: $climb"; exit 1; }
  done
  for rule in "${rules[@]}"; do
    grep -q "^${rule%%	*} " <<<"$(printf '%s\n' "${climbs[@]}")" || { echo "nothing planted for ${rule%%	*}"; exit 1; }
  done
  exit 0
fi
check "$PWD" || exit 1
