#include "nodes/base/grid_head.hpp"

#include <fmt/core.h>

namespace fovea {

HeadSpec grid_head(std::uint32_t classes, std::span<const std::uint32_t> strides) {
  HeadSpec head;
  for (std::size_t level = 0; level < strides.size(); ++level) {
    const auto add = [&](std::string_view kind, OutputRole role, OutputEncoding encoding,
                         std::uint32_t channels) {
      OutputMap map;
      map.tensor = std::string_view(fmt::format("{}{}", kind, level));
      map.role = role;
      map.encoding = encoding;
      map.anchors = AnchorAxis::kOutermost;
      map.stride = strides[level];
      map.channels = channels;
      head.maps.push_back(map);
    };
    add("box", OutputRole::kBox, OutputEncoding::kGridLog, 4);
    add("obj", OutputRole::kObjectness, OutputEncoding::kLogit, 1);
    add("cls", OutputRole::kClassScore, OutputEncoding::kLogit, classes);
  }
  return head;
}

HeadSpec pair_head(std::uint32_t classes, AnchorAxis score_anchors) {
  HeadSpec head;
  OutputMap boxes;
  boxes.tensor = std::string_view("boxes");
  boxes.role = OutputRole::kBox;
  boxes.encoding = OutputEncoding::kCorners;
  boxes.anchors = AnchorAxis::kOutermost;
  boxes.channels = 4;
  head.maps.push_back(boxes);
  OutputMap scores;
  scores.tensor = std::string_view("scores");
  scores.role = OutputRole::kClassScore;
  scores.encoding = OutputEncoding::kDecoded;
  scores.anchors = score_anchors;
  scores.channels = classes;
  head.maps.push_back(scores);
  return head;
}

}  // namespace fovea
