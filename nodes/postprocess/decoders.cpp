// The list of decoders, and what holds for every model whatever its head.
#include <array>

#include <fmt/core.h>

#include "nodes/base/refusals.hpp"
#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

constexpr std::uint32_t kMaxNetworkSide = 32768;

constexpr std::array kDecoders = {
    DecoderRow{"dfl", create_dfl_decoder},
    DecoderRow{"decoded", create_decoded_decoder},
    DecoderRow{"decoded_objectness", create_objectness_decoder},
    DecoderRow{"rows", create_row_decoder},
    DecoderRow{"grid", create_grid_decoder},
    DecoderRow{"pair", create_pair_decoder},
    DecoderRow{"queries", create_query_decoder},
    DecoderRow{"classes", create_class_decoder},
    DecoderRow{"semantic", create_semantic_decoder},
    DecoderRow{"depth", create_depth_decoder},
};

Result<> check_model(const msgs::ModelInfo& model) {
  FOVEA_TRY(check_range("network_width", model.network_width, 1, kMaxNetworkSide));
  FOVEA_TRY(check_range("network_height", model.network_height, 1, kMaxNetworkSide));
  if (const std::string problem = problem_of(model.head); !problem.empty()) {
    return fail(ErrorCode::kInvalidArgument, problem);
  }
  const bool is_depth = model.head.find(OutputRole::kDepth) != nullptr;  // it knows no classes
  FOVEA_TRY(check_range("class count", model.class_names.size(), is_depth ? 0 : 1,
                        msgs::ModelInfo::kMaxClasses));
  if (model.head.classes() != model.class_names.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the head has scores of {} classes; there are names of {}",
                            model.head.classes(), model.class_names.size()));
  }
  return {};
}

}  // namespace

std::span<const DecoderRow> decoders() { return kDecoders; }

Result<std::unique_ptr<Decoder>> create_decoder(const msgs::ModelInfo& model, bool force_scalar,
                                                std::span<const DecoderRow> rows) {
  FOVEA_TRY(check_model(model));
  Refusals refusals;
  for (const DecoderRow& row : rows) {
    auto decoder = row.create(model, force_scalar);
    if (decoder) return decoder;
    refusals.add(row.name, std::move(decoder).error().message);
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("no decoder takes the model's head: {}", refusals.text()));
}

}  // namespace fovea
