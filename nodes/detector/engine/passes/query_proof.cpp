#include "nodes/detector/engine/passes/query_proof.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/made_up_values.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

namespace {

using reference::Tensor;
using reference::TensorMap;

constexpr const char* kBoxes = "the queries' boxes";
constexpr const char* kLogits = "the queries' logits";
constexpr float kScoreTolerance = 1e-4F;
constexpr float kBoxTolerance = 1e-4F;  // of the picture
constexpr int kRuns = 3;

using Form = QueryOutputs::Form;
using Four = std::array<float, 4>;

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

Four box_as(const QueryBoxes& form, const float* box, float width, float height) {
  Four made = {box[0], box[1], box[2], box[3]};
  if (form.corners) {
    made = {box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2, box[1] + box[3] / 2};
  }
  if (form.pixels) {
    for (std::size_t i = 0; i < 4; ++i) made[i] *= i % 2 == 0 ? width : height;
  }
  return made;
}

// One frame of queries, and which of them are the best.
class MadeUpQueries {
 public:
  MadeUpQueries(const QueryMaps& maps, std::int64_t rows) : maps_(maps), rows_(rows) {
    pairs_.resize(static_cast<std::size_t>(maps.queries * maps.classes));
    std::iota(pairs_.begin(), pairs_.end(), std::int64_t{0});
  }

  // The next frame. Scores lie far more apart than rounding.
  void make(TensorMap& inputs) {
    for (std::size_t i = pairs_.size(); i > 1; --i) std::swap(pairs_[i - 1], pairs_[below(i)]);
    float* boxes = inputs.at(kBoxes).data<float>();
    for (std::int64_t q = 0; q < maps_.queries; ++q) {
      for (std::int64_t i = 0; i < 4; ++i) {
        boxes[q * 4 + i] = 0.3F + 0.2F * noise_.next(1) + (i < 2 ? 0.2F : 0.0F);
      }
    }
    Tensor& logits = inputs.at(kLogits);
    std::fill_n(logits.data<float>(), logits.size(), -12.0F);
    // As many again that are not among the best.
    const std::size_t count = std::min(pairs_.size(), static_cast<std::size_t>(2 * rows_));
    for (std::size_t i = 0; i < count; ++i) {
      const float score = 0.98F - 0.96F * static_cast<float>(i) / static_cast<float>(count);
      logits.data<float>()[pairs_[i]] = std::log(score / (1 - score));
    }
  }

  // Of the r-th best score: the query and the class.
  std::int64_t query(std::int64_t r) const {
    return pairs_[static_cast<std::size_t>(r)] / maps_.classes;
  }
  std::int64_t class_of(std::int64_t r) const {
    return pairs_[static_cast<std::size_t>(r)] % maps_.classes;
  }

 private:
  std::size_t below(std::size_t limit) {
    const auto at =
        static_cast<std::size_t>((noise_.next(0.5F) + 0.5F) * static_cast<float>(limit));
    return std::min(at, limit - 1);
  }

  const QueryMaps& maps_;
  std::int64_t rows_;
  std::vector<std::int64_t> pairs_;  // best first
  Noise noise_;
};

bool is_box(const float* actual, const Four& wanted, const Four& tolerance) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (!(std::abs(actual[i] - wanted[i]) <= tolerance[i])) return false;
  }
  return true;
}

// What the model gave, by names that survive cutting.
struct Given {
  const Tensor* boxes = nullptr;
  const Tensor* scores = nullptr;
  const Tensor* labels = nullptr;
};

class Comparison {
 public:
  Comparison(const QueryOutputs& outputs, const QueryMaps& maps, std::int64_t width,
             std::int64_t height)
      : outputs_(outputs),
        maps_(maps),
        width_(static_cast<float>(width)),
        height_(static_cast<float>(height)) {}

  bool matches(const QueryBoxes& form, const MadeUpQueries& queries, const TensorMap& inputs,
               const Given& given) const {
    const float* boxes = inputs.at(kBoxes).data<float>();
    const float* logits = inputs.at(kLogits).data<float>();
    const Four tolerance = box_as({false, form.pixels}, kTolerances.data(), width_, height_);
    for (std::int64_t r = 0; r < outputs_.rows; ++r) {
      const bool all = outputs_.form == Form::kAll;
      const std::int64_t query = all ? r : queries.query(r);
      const Four box = box_as(form, boxes + query * 4, width_, height_);
      if (!is_box(given.boxes->data<float>() + r * row(), box, tolerance)) return false;
      if (all ? !are_scores(r, logits + r * maps_.classes, given)
              : !is_pair(r, logits[query * maps_.classes + queries.class_of(r)],
                         queries.class_of(r), given)) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr Four kTolerances = {kBoxTolerance, kBoxTolerance, kBoxTolerance, kBoxTolerance};

  std::int64_t row() const {
    if (outputs_.form == Form::kParts) return 4;
    return outputs_.form == Form::kRows ? 6 : 4 + maps_.classes;
  }
  bool are_scores(std::int64_t r, const float* logits, const Given& given) const {
    const float* scores = given.boxes->data<float>() + r * row() + 4;
    for (std::int64_t c = 0; c < maps_.classes; ++c) {
      if (!(std::abs(scores[c] - sigmoid(logits[c])) <= kScoreTolerance)) return false;
    }
    return true;
  }
  bool is_pair(std::int64_t r, float logit, std::int64_t of_class, const Given& given) const {
    float score = 0;
    std::int64_t label = 0;
    if (outputs_.form == Form::kRows) {
      const float* rest = given.boxes->data<float>() + r * row() + 4;
      score = rest[0];
      if (rest[1] != static_cast<float>(of_class)) return false;
      label = of_class;
    } else {
      score = given.scores->data<float>()[r];
      label = given.labels->data<std::int64_t>()[r];
    }
    return label == of_class && std::abs(score - sigmoid(logit)) <= kScoreTolerance;
  }

  const QueryOutputs& outputs_;
  const QueryMaps& maps_;
  float width_;
  float height_;
};

}  // namespace

Result<std::optional<QueryBoxes>> given_boxes(const NetworkDefinition& network,
                                              const QueryMaps& maps, const QueryOutputs& outputs,
                                              std::int64_t width, std::int64_t height) {
  NetworkDefinition tail = network;
  tail.value(maps.boxes).name = kBoxes;
  tail.value(maps.logits).name = kLogits;
  std::vector<ValueId> ends = {outputs.boxes};
  if (outputs.form == Form::kParts) ends = {outputs.boxes, outputs.scores, outputs.labels};
  constexpr std::array<const char*, 3> kEndNames = {"end 0", "end 1", "end 2"};
  for (std::size_t i = 0; i < ends.size(); ++i) tail.value(ends[i]).name = kEndNames[i];
  FOVEA_TRY(keep_between(tail, {maps.boxes, maps.logits}, ends));
  if (!tail.validate()) return std::nullopt;

  std::vector<QueryBoxes> forms = {{false, false}, {true, false}, {false, true}, {true, true}};
  TensorMap inputs = made_up_inputs(tail);
  MadeUpQueries queries(maps, outputs.rows);
  const Comparison comparison(outputs, maps, width, height);
  for (int run = 0; run < kRuns && !forms.empty(); ++run) {
    queries.make(inputs);
    const auto results = reference::evaluate(tail, inputs);
    if (!results) return std::nullopt;
    const auto find = [&](const char* name) {
      const auto found = results->find(name);
      return found == results->end() ? nullptr : &found->second;
    };
    const Given given = {find(kEndNames[0]), find(kEndNames[1]), find(kEndNames[2])};
    std::erase_if(forms, [&](const QueryBoxes& form) {
      return !comparison.matches(form, queries, inputs, given);
    });
  }
  return forms.empty() ? std::nullopt : std::optional(forms.front());
}

}  // namespace fovea::engine
