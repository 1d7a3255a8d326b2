// A classifier: one output of scores that sum up to 1. The metadata say that it classifies; that the
// numbers are such scores is proven on made-up ones, so that a sigmoid, or no softmax at all, does not
// pass for them.
#include <cmath>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/made_up_values.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

constexpr std::string_view kClassify = kTaskNames[static_cast<std::size_t>(Task::kClassify)];

bool sums_products(const Layer& layer) {
  return layer.op == OpType::kGemm || layer.op == OpType::kMatMul || layer.op == OpType::kConv;
}

// Whether what follows the last products makes numbers of 0..1 of them that sum up to 1.
Result<bool> sums_up_to_one(const NetworkDefinition& network, ValueId output) {
  const std::vector<ValueId> products = nearest_written(network, output, sums_products);
  if (products.empty()) return false;
  NetworkDefinition tail = network;
  FOVEA_TRY(keep_between(tail, products, {output}));
  const auto outputs = reference::evaluate(tail, made_up_inputs(tail));
  if (!outputs) return false;
  const reference::Tensor& scores = outputs->begin()->second;
  double sum = 0;
  for (std::int64_t c = 0; c < scores.dims[1]; ++c) {
    const float score = scores.data<float>()[c];
    if (!(score >= 0 && score <= 1)) return false;
    sum += static_cast<double>(score);
  }
  constexpr double kRounding = 1e-3;
  return std::abs(sum - 1) <= kRounding;
}

HeadAnswer refused(std::string why_not) { return {{}, {}, {}, std::move(why_not)}; }

}  // namespace

Result<HeadAnswer> recognise_classify(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  if (question.stated != kAutoHead) return refused("another head is stated");
  const auto task = network.metadata.find("task");
  if (task == network.metadata.end()) return refused("no metadata say that it classifies");
  if (task->second != kClassify) return refused(other_task(task->second));
  if (network.outputs.size() != 1) {
    return refused(
        fmt::format("a classifier has one output, and it has {}", network.outputs.size()));
  }
  const ValueId id = network.outputs.front();
  const Value& output = question.shaped.value(id);
  if (output.dtype != DataType::kFloat32) return refused(no_numbers(question.network, output));
  if (output.dims.size() != 2 || output.dims[1] < 1) {
    return refused(fmt::format("'{}' is {}; a classifier's is [1, classes]", shown(output.name, 60),
                               to_string(output.dims)));
  }
  FOVEA_ASSIGN(const bool scores, sums_up_to_one(network, id));
  if (!scores) {
    return refused(
        fmt::format("the numbers of '{}' are no scores that sum up to 1: a softmax is "
                    "missing",
                    shown(output.name, 60)));
  }
  HeadAnswer answer;
  answer.head.spec = classify_head(static_cast<std::uint32_t>(output.dims[1]));
  answer.head.basis = HeadBasis::kMetadata;
  answer.head.note =
      fmt::format("scores of {} classes, by the metadata; they sum up to 1", output.dims[1]);
  answer.outputs = {id};
  answer.names = {"output0"};
  return answer;
}

}  // namespace fovea::engine
