#include "nodes/detector/engine/onnx/adapter.hpp"

#include <algorithm>
#include <climits>
#include <set>
#include <utility>

#include <fmt/core.h>
#include <onnx/onnx_pb.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/external.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/onnx/model_file.hpp"
#include "nodes/detector/engine/onnx/protos.hpp"
#include "nodes/detector/engine/onnx/writer.hpp"
#include "nodes/detector/engine/picture.hpp"

namespace fovea::engine {

namespace {

using onnx::TensorProto;

constexpr std::size_t kNameLimit = 60;
constexpr std::int64_t kMaxSide = 16384;
constexpr std::int64_t kUsualSide = 640;

tl::unexpected<Error> unsupported(std::string message) {
  return fail(ErrorCode::kUnsupported, std::move(message));
}

bool is_float(int type) {
  return type == TensorProto::FLOAT || type == TensorProto::FLOAT16 ||
         type == TensorProto::BFLOAT16 || type == TensorProto::DOUBLE;
}

class Adapter {
 public:
  Adapter(onnx::ModelProto& model, std::filesystem::path base_dir, const AdapterOptions& options)
      : model_(model),
        graph_(*model.mutable_graph()),
        base_dir_(std::move(base_dir)),
        options_(options) {}

  Result<AdaptedModel> run() {
    read_header();
    for (TensorProto& tensor : *graph_.mutable_initializer()) FOVEA_TRY(take_in(tensor));
    FOVEA_TRY(adapt_input());
    FOVEA_TRY(adapt_outputs());
    const std::size_t bytes = model_.ByteSizeLong();
    if (bytes > INT_MAX) {
      return unsupported(
          fmt::format("with its external data the model has {} bytes; at most {} fit into one",
                      bytes, INT_MAX));
    }
    adapted_.bytes.resize(bytes);
    if (!model_.SerializeToArray(adapted_.bytes.data(), static_cast<int>(bytes))) {
      return fail(ErrorCode::kInternal, "the model cannot be written");
    }
    return std::move(adapted_);
  }

 private:
  void read_header() {
    adapted_.producer = model_.producer_name();
    for (const auto& opset : model_.opset_import()) {
      if (opset.domain().empty() || opset.domain() == "ai.onnx") adapted_.opset = opset.version();
    }
    for (const auto& property : model_.metadata_props()) {
      adapted_.metadata[property.key()] = property.value();
    }
    for (const auto& [key, value] : options_.metadata) adapted_.metadata[key] = value;
    if (const auto names = adapted_.metadata.find("names"); names != adapted_.metadata.end()) {
      adapted_.class_names = parse_class_names(names->second);
    }
    // Names of our own nodes must be nobody else's.
    for (const auto& node : graph_.node()) {
      for (const std::string& name : node.output()) taken_.insert(name);
    }
    for (const auto& tensor : graph_.initializer()) taken_.insert(tensor.name());
    for (const auto& input : graph_.input()) taken_.insert(input.name());
  }

  Result<> take_in(TensorProto& tensor) {
    if (tensor.data_location() != TensorProto::EXTERNAL) return {};
    std::map<std::string, std::string> entries;
    for (const auto& entry : tensor.external_data()) entries[entry.key()] = entry.value();
    const auto read = [&]() -> Result<std::vector<std::byte>> {
      FOVEA_ASSIGN(const ExternalData data, parse_external_data(entries));
      return read_external_data(data, base_dir_, INT_MAX);
    };
    const auto bytes = read();
    if (!bytes) {
      return fail(bytes.error().with_context(
          fmt::format("initialiser '{}'", shown(tensor.name(), kNameLimit))));
    }
    tensor.clear_external_data();
    tensor.clear_data_location();
    tensor.set_raw_data(bytes->data(), bytes->size());
    return {};
  }

  Result<onnx::ValueInfoProto*> only_input() {
    std::set<std::string> constants;
    for (const auto& tensor : graph_.initializer()) constants.insert(tensor.name());
    onnx::ValueInfoProto* found = nullptr;
    for (auto& input : *graph_.mutable_input()) {
      if (constants.contains(input.name())) continue;
      if (found != nullptr)
        return unsupported("the model has several inputs; it must have one image");
      found = &input;
    }
    if (found == nullptr) return unsupported("the model has no input; it must have one image");
    return found;
  }

  // What the model says, else what the user asks for, else what its metadata say.
  Result<std::int64_t> side(const onnx::TensorShapeProto::Dimension& dim, std::int32_t asked,
                            std::size_t index, const char* which) const {
    if (dim.has_dim_value() && dim.dim_value() > 0) {
      if (asked != 0 && asked != dim.dim_value()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("the input's {} is {}; the model is for {} only", which, asked,
                                dim.dim_value()));
      }
      if (dim.dim_value() > kMaxSide) {
        return unsupported(fmt::format("the input's {} is {}; it must be 1..{}", which,
                                       dim.dim_value(), kMaxSide));
      }
      return dim.dim_value();
    }
    if (asked != 0) return std::clamp<std::int64_t>(asked, 1, kMaxSide);
    const auto size = adapted_.metadata.find("imgsz");
    if (size == adapted_.metadata.end()) return kUsualSide;
    const std::vector<std::int64_t> sides = parse_int_list(size->second);
    if (sides.empty()) return kUsualSide;
    return std::clamp<std::int64_t>(sides[std::min(index, sides.size() - 1)], 1, kMaxSide);
  }

  Result<> adapt_input() {
    FOVEA_ASSIGN(onnx::ValueInfoProto * input, only_input());
    adapted_.input = one_line(utf8_prefix(input->name(), 256));
    const std::string who = fmt::format("input '{}'", shown(input->name(), kNameLimit));
    const auto& tensor = input->type().tensor_type();
    const int type = tensor.elem_type();
    const auto& shape = tensor.shape();
    const bool integers = type == TensorProto::UINT8;
    if (!input->type().has_tensor_type() || shape.dim_size() != 4 ||
        (shape.dim(1).has_dim_value() && shape.dim(1).dim_value() != 3 &&
         shape.dim(1).dim_value() != 1) ||
        (!integers && !is_float(type))) {
      return unsupported(
          who +
          " is no picture; it must be a float or uint8 [batch, 3, height, width], or of 1 channel");
    }
    if (shape.dim(0).has_dim_value() && shape.dim(0).dim_value() > 1) {
      return unsupported(
          fmt::format("{} has a batch of {}; it must be open or 1", who, shape.dim(0).dim_value()));
    }
    FOVEA_ASSIGN(adapted_.height, side(shape.dim(2), options_.height, 0, "height"));
    FOVEA_ASSIGN(adapted_.width, side(shape.dim(3), options_.width, 1, "width"));

    const std::int64_t channels = shape.dim(1).has_dim_value() ? shape.dim(1).dim_value() : 3;
    FOVEA_ASSIGN(
        adapted_.picture,
        settled_picture({input->name(), channels, integers ? DataType::kUint8 : DataType::kFloat32},
                        {}, adapted_.metadata, options_.picture, adapted_.warnings));

    const std::string original = input->name();
    rename_if_taken(kWrittenInput);
    taken_.insert(kWrittenInput);
    onnx::ValueInfoProto picture;
    set_tensor_type(picture, kWrittenInput, TensorProto::UINT8,
                    {1, adapted_.height, adapted_.width, 3});
    const std::string target = original == kWrittenInput ? renamed_.at(original) : original;
    *input = picture;
    prepend(target, type);
    return {};
  }

  // Planes of what the model takes of a picture's bytes.
  void prepend(const std::string& target, int type) {
    const int before = graph_.node_size();
    const PixelValues values = values_of(adapted_.picture);
    const bool as_they_are = type == TensorProto::UINT8 && values.only_scale() == 1.0F;
    const std::string planes = as_they_are ? target : unused("fovea.planes");
    set_attribute(add_node(graph_, "Transpose", {kWrittenInput}, {planes}), "perm",
                  std::vector<std::int64_t>{0, 3, 1, 2});
    if (!as_they_are) {
      const std::string wide = unused("fovea.wide");
      const std::string scaled = type == TensorProto::FLOAT ? target : unused("fovea.scaled");
      cast(planes, wide, TensorProto::FLOAT);
      if (const auto scale = values.only_scale()) {
        add_node(graph_, "Mul", {wide, floats("fovea.factor", {}, {*scale})}, {scaled});
      } else {
        mix(values, wide, scaled);
      }
      if (scaled != target) cast(scaled, target, type);
    }
    // In front of the others: an ONNX graph is in topological order.
    auto& nodes = *graph_.mutable_node();
    std::rotate(nodes.pointer_begin(), nodes.pointer_begin() + before, nodes.pointer_end());
  }

  void mix(const PixelValues& values, const std::string& from, const std::string& to) {
    const auto channels = static_cast<std::int64_t>(values.channels);
    std::vector<float> factors;
    for (std::size_t c = 0; c < values.channels; ++c) {
      factors.insert(factors.end(), values.factors[c].begin(), values.factors[c].end());
    }
    const std::vector<float> shifts(values.shifts.begin(), values.shifts.begin() + channels);
    add_node(graph_, "Conv",
             {from, floats("fovea.factors", {channels, PixelValues::kBytes, 1, 1}, factors),
              floats("fovea.shifts", {channels}, shifts)},
             {to});
  }

  std::string floats(const char* name, const std::vector<std::int64_t>& dims,
                     const std::vector<float>& values) {
    const std::string own = unused(name);
    TensorProto& tensor = *graph_.add_initializer();
    set_tensor_header(tensor, own, TensorProto::FLOAT, dims);
    for (const float value : values) tensor.add_float_data(value);
    return own;
  }

  void cast(const std::string& from, const std::string& to, int type) {
    set_attribute(add_node(graph_, "Cast", {from}, {to}), "to", std::int64_t{type});
  }

  Result<> adapt_outputs() {
    std::set<std::string> names;
    for (int i = 0; i < graph_.output_size(); ++i) {
      onnx::ValueInfoProto& output = *graph_.mutable_output(i);
      const std::string original = output.name();
      std::string plain = one_line(utf8_prefix(original, 256));
      if (!names.insert(plain).second) plain = fmt::format("{}#{}", plain, i);
      adapted_.outputs.push_back(plain);
      const std::string name = written_output(static_cast<std::size_t>(i));
      rename_if_taken(name);
      const auto moved = renamed_.find(original);
      const std::string& source = moved != renamed_.end() ? moved->second : original;
      const int type = output.type().tensor_type().elem_type();
      // A file need not say the type of its outputs.
      const bool casts =
          type == TensorProto::UNDEFINED || (is_float(type) && type != TensorProto::FLOAT);
      if (casts) {
        cast(source, name, TensorProto::FLOAT);
      } else {
        add_node(graph_, "Identity", {source}, {name});
      }
      onnx::ValueInfoProto made;
      made.set_name(name);
      made.mutable_type()->mutable_tensor_type()->set_elem_type(casts ? int{TensorProto::FLOAT}
                                                                      : type);
      output = made;
    }
    if (adapted_.outputs.empty()) return unsupported("the model has no output");
    return {};
  }

  std::string unused(std::string name) {
    while (!taken_.insert(name).second) name += "_";
    return name;
  }

  // A value of the model that has the name of one of our bindings gets another one.
  void rename_if_taken(const std::string& name) {
    if (!taken_.contains(name) || renamed_.contains(name)) return;
    const std::string other = unused(name + "_of_model");
    renamed_[name] = other;
    const auto rename = [&](std::string& each) {
      if (each == name) each = other;
    };
    for (auto& node : *graph_.mutable_node()) {
      for (std::string& each : *node.mutable_input()) rename(each);
      for (std::string& each : *node.mutable_output()) rename(each);
    }
    for (auto& tensor : *graph_.mutable_initializer()) rename(*tensor.mutable_name());
    for (auto& value : *graph_.mutable_value_info()) rename(*value.mutable_name());
  }

  onnx::ModelProto& model_;
  onnx::GraphProto& graph_;
  std::filesystem::path base_dir_;
  AdapterOptions options_;
  AdaptedModel adapted_;
  std::set<std::string> taken_;
  std::map<std::string, std::string> renamed_;
};

}  // namespace

Result<AdaptedModel> adapt_onnx(const std::filesystem::path& file, const AdapterOptions& options) {
  FOVEA_ASSIGN(const std::vector<std::byte> bytes, read_model_file(file));
  onnx::ModelProto model;
  const auto adapt = [&]() -> Result<AdaptedModel> {
    FOVEA_TRY(decode_model(bytes, model));
    return Adapter(model, folder_of_model(file), options).run();
  };
  auto adapted = adapt();
  if (!adapted) return fail(adapted.error().with_context(file.string()));
  return adapted;
}

}  // namespace fovea::engine
