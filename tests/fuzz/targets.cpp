// The list of targets, and the ones that read messages and text.
#include "tests/fuzz/targets.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include <stdlib.h>

#include "launch/language/graph.hpp"
#include "msgs/registry.hpp"
#include "msgs/wire.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea::fuzz {

namespace {

constexpr std::array kTargets = {Target{"onnx", run_onnx},
                                 Target{"plan", run_plan},
                                 Target{"calibration", run_calibration},
                                 Target{"metadata", run_metadata},
                                 Target{"message", run_message},
                                 Target{"launch", run_launch},
                                 Target{"parameters", run_parameters},
                                 Target{"mcap", run_mcap},
                                 Target{"cdr", run_cdr}};

std::string_view as_text(std::span<const std::byte> input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

// With what a head may have beside boxes and classes.
msgs::ModelInfo small_model(const std::optional<LevelMap>& more) {
  msgs::ModelInfo model;
  model.model_id = 0;
  constexpr std::array<std::uint32_t, 1> kStrides{32};
  model.head = dfl_head(1, 2, kStrides, Suppression::kNeeded, more);
  if (more && more->role == OutputRole::kMaskCoefficients) {
    model.head.maps.push_back(prototypes(more->channels, 4));
  }
  model.network_width = 64;
  model.network_height = 64;
  model.class_names.push_back(std::string_view("thing"));
  return model;
}

// What a postprocess node does with what peers send.
void postprocess(std::span<const std::byte> bytes) {
  auto out = std::make_unique<msgs::Detection2DArray>();
  msgs::TensorArray heads;
  if (msgs::decode(bytes, heads) == msgs::DecodeError::kNone) {
    alignas(64) static constexpr std::array<std::byte, 4096> kSlot{};
    const auto run = [&](const std::optional<LevelMap>& more) {
      auto postprocessor = Postprocessor::create(small_model(more));
      require(postprocessor.has_value(), "the small model is refused");
      (void)postprocessor->run(heads, kSlot, *out);
      return postprocessor;
    };
    run({});
    static const auto keypoints = std::make_unique<msgs::KeypointDetection2DArray>();
    run(LevelMap{OutputRole::kKeypoints, OutputEncoding::kTwiceOffset, 6, 3})
        ->keypoints(*keypoints);
    static const auto boxes = std::make_unique<msgs::OrientedDetection2DArray>();
    run(LevelMap{OutputRole::kAngle, OutputEncoding::kLogit, 1, 0})->oriented_boxes(*boxes);
    static const auto masks = std::make_unique<msgs::InstanceMask2DArray>();
    run(LevelMap{OutputRole::kMaskCoefficients, OutputEncoding::kDecoded, 2, 0})->masks(*masks);
    msgs::ModelInfo pixels = small_model({});
    pixels.head = semantic_head(1, 32);
    auto semantic = Postprocessor::create(pixels);
    require(semantic.has_value(), "the small map is refused");
    static const auto map = std::make_unique<msgs::SemanticMap>();
    if (semantic->run(heads, kSlot, *out)) semantic->semantic_map(*map);
    pixels.head = depth_head(32);
    pixels.class_names.clear();
    auto distances = Postprocessor::create(pixels);
    require(distances.has_value(), "the small depth map is refused");
    static const auto depth = std::make_unique<msgs::DepthMap>();
    if (distances->run(heads, kSlot, *out)) distances->depth(*depth);
  }
  auto model = std::make_unique<msgs::ModelInfo>();
  if (msgs::decode(bytes, *model) == msgs::DecodeError::kNone) {
    auto postprocessor = Postprocessor::create(*model);
    if (postprocessor) {
      (void)postprocessor->run(std::span<const HeadTensor>(), {}, *out);
    }
  }
}

struct Settings {
  bool quick = false;
  std::int64_t max_batch = 8;
  double confidence = 0.25;
  std::string precision = "int8";
  std::string uri;
  std::vector<std::string> cameras{"cam0"};
  std::map<std::string, double> class_thresholds{{"person", 0.5}};
  ParameterSet set;

  Settings() {
    set.add("quick", &quick, "Skip the slow part");
    set.add("max_batch", &max_batch, "Most frames in one inference", Range{1, 64}, "frames");
    set.add("confidence", &confidence, "Least score", Range{0, 1});
    set.add("precision", &precision, "Arithmetic").one_of({"fp32", "fp16", "int8", "best"});
    set.add("uri", &uri, "Where frames come from");
    set.add("cameras", &cameras, "Cameras to read");
    set.add("class_thresholds", &class_thresholds, "Least score by class", Range{0, 1});
  }
};

// A folder of this process, gone at its end.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea_fuzz_XXXXXX").string();
    require(mkdtemp(pattern.data()) != nullptr, "no temporary folder");
    path_ = pattern;
    std::ofstream(path_ / "node") << "#!/bin/true\n";
    std::filesystem::permissions(path_ / "node", std::filesystem::perms::owner_all);
    std::ofstream(path_ / "params.yaml") << "rate: 5\n";
    std::ofstream(path_ / "child.yaml")
        << "launch:\n  - arg: {name: x}\n  - node: {exec: node, name: child}\n";
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

std::span<const Target> all_targets() { return kTargets; }

const Target* find_target(std::string_view name) {
  const auto found = std::find_if(kTargets.begin(), kTargets.end(),
                                  [&](const Target& target) { return target.name == name; });
  return found == kTargets.end() ? nullptr : &*found;
}

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

// The layout hash is filled in: nobody guesses 64 bits.
bool run_message(std::span<const std::byte> input) {
  if (input.empty()) return false;
  const auto types = msgs::all_message_types();
  const msgs::MessageType& type = types[std::to_integer<std::size_t>(input[0]) % types.size()];
  std::vector<std::byte> bytes(msgs::kHashBytes);
  std::memcpy(bytes.data(), &type.layout_hash, msgs::kHashBytes);
  bytes.insert(bytes.end(), input.begin() + 1, input.end());
  require(msgs::find_message_type(msgs::peek_hash(bytes)) == &type, "a type is not found");
  const auto json = type.to_json(bytes);
  postprocess(bytes);
  return json.has_value();
}

bool run_launch(std::span<const std::byte> input) {
  static const Folder folder;
  const auto file = folder.path() / "main.yaml";
  std::ofstream(file, std::ios::binary) << as_text(input);
  (void)launch::load_arguments(file);
  const auto graph = launch::load_graph(file, {{}, folder.path(), folder.path()});
  if (!graph) {
    require(!graph.error().message.empty(), "an error says nothing");
    return false;
  }
  (void)launch::print_graph(*graph, "domain");
  for (const launch::NodeAction& node : graph->nodes) {
    require(graph->find(node.name) != nullptr, "a node is not found by its name");
    for (const std::string& other : node.depends_on) {
      require(graph->find(other) != nullptr, "a dependency does not exist");
    }
    require(!launch::command_line(node, "domain", true).empty(), "a node has no command line");
  }
  return true;
}

// What was read can be written and read again.
bool run_parameters(std::span<const std::byte> input) {
  Settings settings;
  (void)settings.set.set("cameras", as_text(input), "--cameras");
  (void)settings.set.set("class_thresholds", as_text(input), "--class-thresholds");
  (void)settings.set.set("max_batch", as_text(input), "--max-batch");
  Settings fresh;
  const auto loaded = fresh.set.load_yaml_text(as_text(input), "file.yaml");
  require(loaded.has_value() || !loaded.error().message.empty(), "an error says nothing");
  for (Settings* written : {&settings, &fresh}) {
    const std::string dumped = written->set.dump_yaml();
    Settings copy;
    const auto again = copy.set.load_yaml_text(dumped, "dump.yaml");
    require(again.has_value(), again ? "" : again.error().message.c_str());
    require(copy.set.dump_yaml() == dumped, "a dump does not give the same values");
    (void)written->set.to_json();
  }
  return loaded.has_value();
}

}  // namespace fovea::fuzz
