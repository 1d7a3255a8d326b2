// Finds external weights with a walk over the protobuf wire format, because a cache look-up must
// not pay for parsing the whole model.
#include "nodes/detector/engine/plan/model_hash.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"

namespace fovea::engine {

namespace {

using Bytes = std::span<const std::byte>;

bool read_varint(Bytes& bytes, std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<std::uint64_t>(bytes.front());
    bytes = bytes.subspan(1);
    value |= (byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

// Calls field(number, content) for each length-delimited field of a message; stops at the first
// malformed one.
template <class Field>
void for_each_field(Bytes message, Field&& field) {
  std::uint64_t tag = 0;
  while (!message.empty() && read_varint(message, tag)) {
    std::uint64_t size = 0;
    switch (tag & 7) {
      case 0:
        if (!read_varint(message, size)) return;
        continue;
      case 1:
        size = 8;
        break;
      case 5:
        size = 4;
        break;
      case 2:
        if (!read_varint(message, size)) return;
        break;
      default:
        return;
    }
    if (size > message.size()) return;
    if ((tag & 7) == 2) field(tag >> 3, message.first(size));
    message = message.subspan(size);
  }
}

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Field numbers of onnx.proto.
void visit_tensor(Bytes tensor, std::vector<std::string>& files) {
  for_each_field(tensor, [&](std::uint64_t number, Bytes entry) {
    if (number != 13) return;  // TensorProto.external_data
    std::string_view key;
    std::string_view value;
    for_each_field(entry, [&](std::uint64_t part, Bytes text) {
      if (part == 1) key = text_of(text);
      if (part == 2) value = text_of(text);
    });
    if (key == "location" && std::find(files.begin(), files.end(), value) == files.end()) {
      files.emplace_back(value);
    }
  });
}

void visit_graph(Bytes graph, std::vector<std::string>& files) {
  for_each_field(graph, [&](std::uint64_t number, Bytes part) {
    if (number == 5) visit_tensor(part, files);  // GraphProto.initializer
    if (number != 1) return;                     // GraphProto.node
    for_each_field(part, [&](std::uint64_t node_field, Bytes attribute) {
      if (node_field != 5) return;  // NodeProto.attribute
      for_each_field(attribute, [&](std::uint64_t attribute_field, Bytes tensor) {
        if (attribute_field == 5) visit_tensor(tensor, files);  // AttributeProto.t
      });
    });
  });
}

}  // namespace

std::vector<std::string> external_data_files(Bytes bytes) {
  std::vector<std::string> files;
  for_each_field(bytes, [&](std::uint64_t number, Bytes graph) {
    if (number == 7) visit_graph(graph, files);  // ModelProto.graph
  });
  return files;
}

Result<std::string> hash_model(const std::filesystem::path& file) {
  FOVEA_ASSIGN(const auto model, read_file(file.string()));
  Sha256 hash;
  hash.add(model);
  for (const std::string& name : external_data_files(model)) {
    // A path that leaves the model's folder is the parser's to refuse; its content is not looked at
    // here.
    const std::filesystem::path relative(name);
    hash.add(std::string_view("\nexternal data "));
    hash.add(name);
    const bool inside = relative.is_relative() &&
                        std::find(relative.begin(), relative.end(), "..") == relative.end();
    if (!inside) continue;
    auto data = read_file(file.parent_path() / relative);
    if (!data) {
      const std::string what =
          fmt::format("{}: external data '{}'", file.string(), shown(name, 100));
      return fail(data.error().with_context(what));
    }
    hash.add(*data);
  }
  return hash.finish();
}

}  // namespace fovea::engine
