#include "nodes/detector/engine/cpu/native/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/native/moved_view.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::cpu::native {

namespace {

using kernels::AttentionPair;
using kernels::AttentionPlace;

constexpr std::size_t kMostPairs = 65536;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

tl::unexpected<Error> decline(std::string reason) {
  return fail(ErrorCode::kUnsupported, std::move(reason));
}

// A Softmax between two matrix products, with what moves or scales elements in between, in order.
struct Candidate {
  std::size_t scores = 0;  // q times k
  std::vector<std::size_t> before;
  std::size_t softmax = 0;
  std::vector<std::size_t> after;
  std::size_t mix = 0;  // probabilities times v
};

// A tensor that comes from a picture by moving and scaling elements.
struct Origin {
  ValueId picture = kNoValue;
  MovedView view;  // in the picture's channels-last order
  float scale = 1;
};

// One of q, k, v and the result, as a matrix of the last two axes.
struct Operand {
  std::string_view what;
  ValueId id = kNoValue;
  std::size_t position_axis = 0;
  std::size_t channel_axis = 0;
};

class Finder {
 public:
  Finder(const NetworkDefinition& network, const KnownValues& known, const Storage& storage)
      : network_(network), known_(known), storage_(storage), graph_(network) {}

  std::optional<Candidate> candidate(std::size_t softmax) const {
    Candidate found;
    found.softmax = softmax;
    float factor = 1;
    for (ValueId id = layer(softmax).inputs[0];;) {
      const auto producer = graph_.producer(id);
      if (!producer) return std::nullopt;
      found.scores = *producer;
      if (layer(*producer).op == OpType::kMatMul) break;
      const auto input = input_of(layer(*producer), factor);
      if (!input) return std::nullopt;
      found.before.insert(found.before.begin(), *producer);
      id = *input;
    }
    for (ValueId id = layer(softmax).outputs[0];;) {
      if (graph_.readers(id).empty()) return std::nullopt;
      found.mix = graph_.readers(id).front();
      if (layer(found.mix).op == OpType::kMatMul) return found;
      if (!only_moves(layer(found.mix)) || layer(found.mix).outputs.size() != 1) {
        return std::nullopt;
      }
      found.after.push_back(found.mix);
      id = layer(found.mix).outputs[0];
    }
  }

  Result<Attention> match(const Candidate& found) const {
    const Layer& product = layer(found.scores);
    const Layer& mix = layer(found.mix);
    const Dims& scores = dims(product.outputs[0]);
    const std::size_t rank = scores.size();
    const std::int64_t positions = scores.back();
    FOVEA_TRY(check_product(product));
    FOVEA_TRY(check_product(mix));
    if (scores[rank - 2] != positions || positions < 2) {
      return decline(fmt::format("{} queries and {} keys", scores[rank - 2], positions));
    }
    Attention result;
    result.positions = positions;
    FOVEA_ASSIGN(const bool keys_last, follow_scores(found, result.scale));
    const bool probabilities_first = mix.inputs[0] == probabilities(found);

    // q . k has one position a row and one a column; the Softmax says which are the keys.
    const std::array<Operand, 2> sides = {
        {{keys_last ? "q" : "k", product.inputs[0], rank - 2, rank - 1},
         {keys_last ? "k" : "q", product.inputs[1], rank - 1, rank - 2}}};
    const std::size_t mixed = dims(mix.outputs[0]).size();
    const Operand values = {"v", mix.inputs[probabilities_first ? 1 : 0],
                            probabilities_first ? mixed - 2 : mixed - 1,
                            probabilities_first ? mixed - 1 : mixed - 2};
    result.key_dim = dims(product.inputs[0])[rank - 1];
    result.value_dim = dims(values.id)[values.channel_axis];
    FOVEA_ASSIGN(const auto q, source(sides[keys_last ? 0 : 1], positions, result.key_dim,
                                      result.q, result.scale));
    FOVEA_ASSIGN(const auto k, source(sides[keys_last ? 1 : 0], positions, result.key_dim,
                                      result.k, result.scale));
    float of_values = 1;
    FOVEA_ASSIGN(const auto v,
                 source(values, positions, result.value_dim, result.v, of_values));
    if (of_values != 1) return decline("v is scaled");
    if (!std::isfinite(result.scale)) return decline("the scale is not finite");

    result.computing = found.before;
    result.computing.insert(result.computing.end(), {found.scores, found.softmax, found.mix});
    result.layers = result.computing;
    result.layers.insert(result.layers.end(), found.after.begin(), found.after.end());
    std::erase_if(result.computing, [&](std::size_t i) { return only_moves(layer(i)); });
    const Operand outcome = {"the result", mix.outputs[0], values.position_axis,
                             values.channel_axis};
    FOVEA_ASSIGN(const auto to, destination(outcome, positions, result));
    std::sort(result.layers.begin(), result.layers.end());
    std::sort(result.computing.begin(), result.computing.end());
    FOVEA_TRY(check_readers(result));

    for (std::size_t i = 0; i < q.size(); ++i) result.pairs.push_back({q[i], k[i], v[i], to[i]});
    return result;
  }

 private:
  const Dims& dims(ValueId id) const { return network_.value(id).dims; }
  const Layer& layer(std::size_t i) const { return network_.layers[i]; }

  // The value that the layer moves, or multiplies by a known number, by which `scale` then grows.
  std::optional<ValueId> input_of(const Layer& layer, float& scale) const {
    if (only_moves(layer)) return layer.inputs[0];
    if ((layer.op != OpType::kMul && layer.op != OpType::kDiv) ||
        layer.activation != Activation::kNone || layer.residual != kNoValue) {
      return std::nullopt;
    }
    for (const std::size_t data : {0U, 1U}) {
      const auto& number = known_[index(layer.inputs[1 - data])];
      if (!number || number->type() != DataType::kFloat32 || number->packed() ||
          number->size() != 1 || dims(layer.inputs[data]) != dims(layer.outputs[0]) ||
          (layer.op == OpType::kDiv && data == 1)) {
        continue;
      }
      const float factor = *number->data<float>();
      scale *= layer.op == OpType::kDiv ? 1 / factor : factor;
      return layer.inputs[data];
    }
    return std::nullopt;
  }

  ValueId probabilities(const Candidate& found) const {
    return layer(found.after.empty() ? found.softmax : found.after.back()).outputs[0];
  }

  // Nothing is broadcast: the i-th matrix of one side meets the i-th of the other.
  Result<> check_product(const Layer& product) const {
    const Dims& to = dims(product.outputs[0]);
    for (const ValueId id : product.inputs) {
      const Dims& side = dims(id);
      if (to.size() < 2 || side.size() != to.size() ||
          !std::equal(to.begin(), to.end() - 2, side.begin())) {
        return decline(fmt::format("'{}' multiplies {} and {}", product.name,
                                   to_string(dims(product.inputs[0])),
                                   to_string(dims(product.inputs[1]))));
      }
    }
    return {};
  }

  // Whether the last axis of the scores is the one that becomes shares and is summed over; false:
  // the one before. The number of a matrix, its query and its key must keep their meaning from one
  // product to the other.
  Result<bool> follow_scores(const Candidate& found, float& scale) const {
    const Dims& scores = dims(layer(found.scores).outputs[0]);
    const std::int64_t positions = scores.back();
    MovedView view(scores, row_major(scores));
    const auto follow = [&](const std::vector<std::size_t>& chain) {
      return std::all_of(chain.begin(), chain.end(), [&](std::size_t i) {
        return !only_moves(layer(i)) ||
               view.follow(network_, known_, layer(i), layer(i).outputs[0]);
      });
    };
    for (const std::size_t i : found.before) {
      if (!only_moves(layer(i))) input_of(layer(i), scale);
    }
    if (!follow(found.before)) return decline("the scores are reordered");
    const Layer& softmax = layer(found.softmax);
    if (softmax.int_attribute("flatten", 0) != 0) return decline("Softmax flattens its input");
    FOVEA_ASSIGN(const std::size_t axis,
                 resolve_axis(softmax.int_attribute("axis", -1), view.rank()));
    const auto stride = view.stride(axis);
    const std::int64_t extent = dims(softmax.inputs[0])[axis];
    if (extent != positions || !stride || (*stride != 1 && *stride != positions)) {
      return decline("Softmax is along another axis than the keys");
    }
    const bool keys_last = *stride == 1;
    if (!follow(found.after)) return decline("the probabilities are reordered");

    const Layer& mix = layer(found.mix);
    const ValueId shares = probabilities(found);
    if (mix.inputs[0] == mix.inputs[1]) return decline("the probabilities meet themselves");
    const bool first = mix.inputs[0] == shares;
    const std::size_t rank = view.rank();
    const Dims& extents = dims(shares);
    const std::size_t keys = first ? rank - 1 : rank - 2;
    const std::size_t queries = first ? rank - 2 : rank - 1;
    if (extents[keys] != positions || extents[queries] != positions ||
        view.stride(keys) != (keys_last ? 1 : positions) ||
        view.stride(queries) != (keys_last ? positions : 1)) {
      return decline("the sum over values is along another axis than the keys");
    }
    const std::vector<std::int64_t> matrices = view.steps(0, rank - 2);
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      if (matrices[i] != static_cast<std::int64_t>(i) * positions * positions) {
        return decline("the heads are reordered");
      }
    }
    if (view.offset() != 0 || static_cast<std::int64_t>(matrices.size()) * positions * positions !=
                                  volume(scores)) {
      return decline("some probabilities are left out");
    }
    if (matrices.size() > kMostPairs) return decline(fmt::format("{} heads", matrices.size()));
    return keys_last;
  }

  // Back to the first picture, through whatever only moves or scales.
  Result<Origin> origin(std::string_view what, ValueId id) const {
    struct Link {
      std::size_t layer;
      ValueId output;
    };
    std::vector<Link> chain;   // from the tensor back
    std::size_t moves = 0;     // of them, those behind the picture
    float scale = 1;
    Origin result{kNoValue, MovedView({}, {}), 1};
    for (ValueId at = id;;) {
      if (storage_.is_picture(at) && known_[index(at)] == nullptr) {
        result.picture = at;
        result.scale = scale;
        moves = chain.size();
      }
      const auto producer = graph_.producer(at);
      const auto input = producer ? input_of(layer(*producer), scale) : std::nullopt;
      if (!input) break;
      chain.push_back({*producer, at});
      at = *input;
    }
    if (result.picture == kNoValue || storage_.is_image(result.picture)) {
      return decline(fmt::format("{} does not come from a picture", what));
    }
    result.view = MovedView(dims(result.picture), channels_last(dims(result.picture)));
    for (std::size_t i = moves; i-- > 0;) {
      const Layer& link = layer(chain[i].layer);
      if (only_moves(link) && !result.view.follow(network_, known_, link, chain[i].output)) {
        return decline(fmt::format("{} lies in no regular steps", what));
      }
    }
    return result;
  }

  Result<std::vector<AttentionPlace>> source(const Operand& operand, std::int64_t positions,
                                             std::int64_t depth, ValueId& picture,
                                             float& scale) const {
    FOVEA_ASSIGN(const Origin from, origin(operand.what, operand.id));
    picture = from.picture;
    scale *= from.scale;
    return places(operand, from.view, from.picture, positions, depth);
  }

  // Where the matrices begin in the picture, if positions are its pixels, one after the other, and
  // channels its channels.
  Result<std::vector<AttentionPlace>> places(const Operand& operand, const MovedView& view,
                                             ValueId picture, std::int64_t positions,
                                             std::int64_t depth) const {
    const Dims& extents = dims(picture);
    const std::int64_t channels = extents[1];
    const std::int64_t pixels = extents[2] * extents[3];
    if (storage_.type(picture) != DataType::kFloat32) {
      return decline(fmt::format("{} is not stored in f32", operand.what));
    }
    if (view.stride(operand.position_axis) != channels ||
        (depth > 1 && view.stride(operand.channel_axis) != 1)) {
      return decline(fmt::format("{} does not lie pixel by pixel", operand.what));
    }
    std::vector<AttentionPlace> result;
    for (const std::int64_t step : view.steps(0, view.rank() - 2)) {
      const std::int64_t at = view.offset() + step;
      result.push_back({at / channels, at % channels});
      if (result.back().channel + depth > channels || result.back().pixel + positions > pixels) {
        return decline(fmt::format("{} does not lie pixel by pixel", operand.what));
      }
    }
    return result;
  }

  // On to the first picture that the result becomes by moving elements; the layers on the way join
  // the attention's.
  Result<std::vector<AttentionPlace>> destination(const Operand& operand, std::int64_t positions,
                                                  Attention& attention) const {
    std::string reason = "the result does not become a picture";
    std::vector<std::size_t> chain;
    for (ValueId at = operand.id;;) {
      if (storage_.is_picture(at)) {
        MovedView view(dims(at), channels_last(dims(at)));
        const bool regular = std::all_of(chain.rbegin(), chain.rend(), [&](std::size_t i) {
          return view.undo(network_, layer(i));
        });
        Result<std::vector<AttentionPlace>> found = decline("the result lies in no regular steps");
        if (regular) found = places(operand, view, at, positions, attention.value_dim);
        if (found) {
          attention.to = at;
          attention.layers.insert(attention.layers.end(), chain.begin(), chain.end());
          return found;
        }
        reason = found.error().message;
      }
      const auto reader = graph_.only_reader(at);
      if (!reader || !only_moves(layer(*reader)) || layer(*reader).outputs.size() != 1) {
        return decline(reason);
      }
      chain.push_back(*reader);
      at = layer(*reader).outputs[0];
    }
  }

  // Nobody else may want what is never written.
  Result<> check_readers(const Attention& attention) const {
    for (const std::size_t i : attention.layers) {
      for (const ValueId id : layer(i).outputs) {
        if (id != attention.to && !graph_.only_reader(id)) {
          return decline(fmt::format("'{}' is read elsewhere, too", network_.value(id).name));
        }
      }
    }
    return {};
  }

  const NetworkDefinition& network_;
  const KnownValues& known_;
  const Storage& storage_;
  GraphIndex graph_;
};

}  // namespace

AttentionSearch find_attention(const NetworkDefinition& network, const KnownValues& known,
                               const Storage& storage) {
  const Finder finder(network, known, storage);
  AttentionSearch search;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].op != OpType::kSoftmax) continue;
    const auto candidate = finder.candidate(i);
    if (!candidate) continue;
    auto attention = finder.match(*candidate);
    if (attention) {
      search.found.push_back(std::move(*attention));
    } else {
      search.declined.push_back(fmt::format("{}: no attention in one step: {}",
                                            network.layers[i].name, attention.error().message));
    }
  }
  return search;
}

}  // namespace fovea::engine::cpu::native
