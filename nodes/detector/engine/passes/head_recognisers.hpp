// Which head a model has: an ordered list of recognisers, each of which knows one kind of head, says
// what the outputs mean, or why they are none of that kind.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

struct HeadQuestion {
  const NetworkDefinition& network;
  const NetworkDefinition& shaped;  // with dims
  std::string_view stated;          // of kHeadChoices (passes.hpp), but not "none"
  bool keep_output0 = false;        // see LoweringOptions
};

struct HeadAnswer {
  HeadInfo head;                 // not known(): the head is another one
  std::vector<ValueId> outputs;  // what the network is to give: in the order of `names`
  std::vector<std::string> names;
  std::string why_not;  // one line; empty: nothing that others do not say
  // How the family that has such heads is fed. As the default: as the task is, says find_head().
  InputSpec picture = {};
};

struct HeadRecogniser {
  std::string_view name;  // what users read; HeadInfo::name
  // Errors: the model must not be built: what is stated contradicts it, or a guess would contradict
  // the evidence. They end the search, so recognisers that guess stand last.
  Result<HeadAnswer> (*recognise)(const HeadQuestion& question);
};
std::span<const HeadRecogniser> head_recognisers();

// The answer of the first that takes the model. If none does, a head that is not known, whose note
// lists their reasons. Errors: a recogniser's.
Result<HeadAnswer> find_head(const HeadQuestion& question,
                             std::span<const HeadRecogniser> recognisers = head_recognisers());

// A network with YOLOv8's decoding behind its maps, or that of its siblings for masks, keypoints and
// turned boxes, and perhaps a choice of the best behind that: see dfl_head(). Which maps, it proves by
// running the tail on made-up ones.
Result<HeadAnswer> recognise_dfl(const HeadQuestion& question);

// A transformer's queries: boxes and logits of classes, and what chooses the best of them behind those;
// see query_head(). That it does, it proves by running the tail on made-up ones. Two outputs without a
// tail (RF-DETR's `dets` and `labels`) are known by their names.
Result<HeadAnswer> recognise_queries(const HeadQuestion& question);

// One output of scores that sum up to 1, which is proven, and metadata that say that it classifies: see
// classify_head(). Nothing is cut off.
Result<HeadAnswer> recognise_classify(const HeadQuestion& question);

// The class of every pixel, or its logits: see semantic_head(). What chooses the class is proven and cut
// off.
Result<HeadAnswer> recognise_semantic(const HeadQuestion& question);

// The distance of every pixel, see depth_head(): metadata say so. What enlarges the map is proven and cut
// off.
Result<HeadAnswer> recognise_depth(const HeadQuestion& question);

// One output that is read as it is: see decoded_head() and objectness_head(). What such numbers mean
// they cannot prove, so the user, the class names and the shape are asked, in this order, and the
// answer says which of them it comes from. Errors: kInvalidArgument for a stated head that
// contradicts the shape, kUnsupported if the shape alone would say what further outputs or the grid
// contradict.
Result<HeadAnswer> recognise_decoded(const HeadQuestion& question);
Result<HeadAnswer> recognise_objectness(const HeadQuestion& question);

// Rows of the best boxes, as a model that chooses them gives them: see rows_head(). Proven if the
// model's own tail is to be kept; else read so if its tail cannot be cut off and the metadata, or the
// user, say that. Errors: kInvalidArgument for a stated head that contradicts the shape.
Result<HeadAnswer> recognise_rows(const HeadQuestion& question);

// The output that is proven to be rows of the best boxes.
struct OwnRows {
  std::uint32_t classes = 0;
  std::optional<LevelMap> more;  // encoded as raw maps are
  ValueId output = kNoValue;
};
Result<std::optional<OwnRows>> own_rows_of(const HeadQuestion& question);

// Adds the output that holds the prototypes of so many coefficients. Returns why there is none, empty
// if there is.
std::string add_prototypes(const HeadQuestion& question, std::uint32_t coefficients,
                           HeadAnswer& answer);

// What the network's first output is, if it is YOLOv8's decoding of all boxes.
struct Columns {
  std::uint32_t classes = 0;  // 0: it is something else
  std::string why_not;        // if it is proven to be something else, a sentence
};
Result<Columns> columns_of(const HeadQuestion& question);

// Reasons that several recognisers have, in the same words, so that they are said once.
bool is_decoded(std::string_view task);  // one of kTaskNames
bool finds_objects(std::string_view task);  // one of those, and of boxes
std::string_view name_of(Task task);
std::string other_task(std::string_view task);
std::string no_numbers(const NetworkDefinition& network, const Value& output);
// Warnings of metadata that say another task than the one that the model is proven to compute.
std::vector<std::string> contradictions(const NetworkDefinition& network, Task computed);

}  // namespace fovea::engine
