// One description of each graph type for writing and for reading, so that the two cannot drift
// apart. Internal to plan.cpp.
//
// ArchiveReader never reads outside its bytes: after the first fault every read yields zero and
// ok() is false, and a container grows only as long as elements keep coming, so a forged count
// costs no memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <variant>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

static_assert(std::endian::native == std::endian::little, "plans are written little endian");

inline constexpr std::size_t kSectionAlignment = 64;

constexpr std::size_t align_up(std::size_t bytes) {
  return (bytes + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
}

class ArchiveWriter {
 public:
  static constexpr bool kReading = false;

  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void operator()(const T& value) {
    append(bytes_, &value, sizeof(T));
  }
  void operator()(const std::string& text) { sequence(text); }
  template <class T>
  void operator()(const std::vector<T>& items) {
    sequence(items);
  }
  template <class T>
  void operator()(const std::map<std::string, T>& items) {
    (*this)(static_cast<std::uint64_t>(items.size()));
    for (const auto& [key, value] : items) {
      (*this)(key);
      (*this)(value);
    }
  }
  void operator()(const Attribute& attribute) {
    (*this)(static_cast<std::uint8_t>(attribute.index()));
    std::visit(*this, attribute);
  }
  // A constant shared by several values is written once.
  void operator()(const std::shared_ptr<const Constant>& constant) {
    if (!constant) return (*this)(std::int64_t{-1});
    const auto [entry, is_new] = offsets_.try_emplace(constant.get(), weights_.size());
    if (is_new) {
      append(weights_, constant->bytes.data(), constant->bytes.size());
      weights_.resize(align_up(weights_.size()));
    }
    (*this)(static_cast<std::int64_t>(entry->second));
    (*this)(constant->dtype);
    (*this)(constant->dims);
    (*this)(constant->scales);
    (*this)(static_cast<std::uint64_t>(constant->bytes.size()));
  }
  template <class T>
  requires std::is_class_v<T>
  void operator()(const T& object) {
    archive(*this, const_cast<T&>(object));  // the writer only reads it
  }

  std::vector<std::byte> take_bytes() { return std::move(bytes_); }
  std::vector<std::byte> take_weights() { return std::move(weights_); }

 private:
  static void append(std::vector<std::byte>& to, const void* data, std::size_t size) {
    const std::size_t end = to.size();
    to.resize(end + size);
    if (size > 0) std::memcpy(to.data() + end, data, size);
  }
  template <class Sequence>
  void sequence(const Sequence& items) {
    (*this)(static_cast<std::uint64_t>(items.size()));
    for (const auto& item : items) (*this)(item);
  }

  std::vector<std::byte> bytes_;
  std::vector<std::byte> weights_;
  std::unordered_map<const Constant*, std::size_t> offsets_;
};

class ArchiveReader {
 public:
  static constexpr bool kReading = true;

  // Constants refer to `weights`, which live as long as `owner`.
  ArchiveReader(std::span<const std::byte> bytes, std::span<const std::byte> weights,
                std::shared_ptr<const void> owner)
      : bytes_(bytes), weights_(weights), owner_(std::move(owner)) {}

  bool ok() const { return ok_; }
  // Everything was consumed, down to the zero padding of the section.
  bool at_end() const {
    for (const std::byte byte : bytes_) {
      if (byte != std::byte{0}) return false;
    }
    return bytes_.size() < kSectionAlignment;
  }

  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void operator()(T& value) {
    value = T{};
    if (bytes_.size() < sizeof(T)) ok_ = false;
    if (!ok_) return;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
  }
  void operator()(std::string& text) { sequence(text); }
  template <class T>
  void operator()(std::vector<T>& items) {
    sequence(items);
  }
  template <class T>
  void operator()(std::map<std::string, T>& items) {
    items.clear();
    for (std::uint64_t left = count(); left > 0 && ok_; --left) {
      std::string key;
      T value;
      (*this)(key);
      (*this)(value);
      if (ok_) items.emplace(std::move(key), std::move(value));
    }
  }
  void operator()(Attribute& attribute) {
    std::uint8_t index = 0;
    (*this)(index);
    switch (index) {
      case 0:
        return alternative<0>(attribute);
      case 1:
        return alternative<1>(attribute);
      case 2:
        return alternative<2>(attribute);
      case 3:
        return alternative<3>(attribute);
      case 4:
        return alternative<4>(attribute);
      default:
        ok_ = false;
    }
  }
  void operator()(std::shared_ptr<const Constant>& constant) {
    std::int64_t offset = 0;
    (*this)(offset);
    if (!ok_ || offset == -1) return constant.reset();
    auto loaded = std::make_shared<Constant>();
    std::uint64_t size = 0;
    (*this)(loaded->dtype);
    (*this)(loaded->dims);
    (*this)(loaded->scales);
    (*this)(size);
    const auto start = static_cast<std::uint64_t>(offset);
    if (offset < 0 || start % kSectionAlignment != 0 || start > weights_.size() ||
        size > weights_.size() - start || !fits(loaded->dtype, loaded->dims, size)) {
      ok_ = false;
    }
    if (!ok_) return;
    const auto known = loaded_.find(start);
    if (known != loaded_.end() && known->second->dtype == loaded->dtype &&
        known->second->dims == loaded->dims && known->second->scales == loaded->scales) {
      constant = known->second;
      return;
    }
    loaded->bytes = SharedBytes(weights_.subspan(start, size), owner_);
    constant = loaded;
    loaded_[start] = std::move(loaded);
  }
  template <class T>
  requires std::is_class_v<T>
  void operator()(T& object) { archive(*this, object); }

 private:
  std::uint64_t count() {
    std::uint64_t items = 0;
    (*this)(items);
    if (items > bytes_.size()) ok_ = false;  // every element takes at least one byte
    return ok_ ? items : 0;
  }
  template <class Sequence>
  void sequence(Sequence& items) {
    items.clear();
    for (std::uint64_t left = count(); left > 0 && ok_; --left) {
      typename Sequence::value_type item{};
      (*this)(item);
      if (ok_) items.push_back(std::move(item));
    }
  }
  template <std::size_t kIndex>
  void alternative(Attribute& attribute) {
    std::variant_alternative_t<kIndex, Attribute> value{};
    (*this)(value);
    attribute = std::move(value);
  }
  static bool fits(DataType dtype, const Dims& dims, std::uint64_t size) {
    if (dtype > DataType::kBool) return false;
    std::uint64_t elements = 1;
    for (const std::int64_t extent : dims) {
      if (extent < 0 ||
          __builtin_mul_overflow(elements, static_cast<std::uint64_t>(extent), &elements)) {
        return false;
      }
    }
    std::uint64_t expected = 0;
    return !__builtin_mul_overflow(elements, element_size(dtype), &expected) && expected == size;
  }

  std::span<const std::byte> bytes_;
  std::span<const std::byte> weights_;
  std::shared_ptr<const void> owner_;
  std::unordered_map<std::uint64_t, std::shared_ptr<const Constant>> loaded_;
  bool ok_ = true;
};

template <class A>
void archive(A& a, Value& value) {
  a(value.name);
  a(value.dtype);
  a(value.dims);
  a(value.constant);
}

template <class A>
void archive(A& a, Layer& layer) {
  a(layer.name);
  a(layer.op);
  a(layer.inputs);
  a(layer.outputs);
  a(layer.attributes);
  a(layer.activation);
  a(layer.activation_alpha);
  a(layer.residual);
  a(layer.fused);
}

template <class A>
void archive(A& a, OutputMap& map) {
  std::string tensor(map.tensor.view());
  a(tensor);
  map.tensor = std::string_view(tensor);
  a(map.role);
  a(map.encoding);
  a(map.anchors);
  a(map.stride);
  a(map.first_channel);
  a(map.channels);
  a(map.bins);
  a(map.point_values);
  a(map.classes);
}

// A count beyond what there is room for is kept: problem_of() says so.
template <class A>
void archive(A& a, HeadSpec& spec) {
  a(spec.maps.count);
  const std::size_t maps = std::min<std::size_t>(spec.maps.count, HeadSpec::kMaxMaps);
  for (std::size_t i = 0; i < maps; ++i) a(spec.maps[i]);
  a(spec.suppression);
}

template <class A>
void archive(A& a, InputSpec& spec) {
  a(spec.colour);
  a(spec.range);
  a(spec.resize);
  a(spec.border);
  for (float& value : spec.mean) a(value);
  for (float& value : spec.deviation) a(value);
}

template <class A>
void archive(A& a, HeadInfo& head) {
  a(head.name);
  a(head.spec);
  a(head.basis);
  a(head.note);
  a(head.warnings);
}

template <class A>
void archive(A& a, QuantizationGrid& grid) {
  a(grid.scale);
  a(grid.zero_point);
}

template <class A>
void archive(A& a, LayerQuantization& layer) {
  a(layer.precision);
  a(layer.pre_activation);
  a(layer.low_value);
  a(layer.high_value);
}

template <class A>
void archive(A& a, Quantization& quantization) {
  a(quantization.values);
  a(quantization.layers);
}

template <class A>
void archive(A& a, OptimizationProfile& profile) {
  a(profile.input);
  a(profile.min);
  a(profile.opt);
  a(profile.max);
}

template <class A>
void archive(A& a, NetworkDefinition& network) {
  a(network.values);
  a(network.layers);
  a(network.inputs);
  a(network.outputs);
  a(network.producer);
  a(network.opset);
  a(network.metadata);
  a(network.class_names);
  a(network.head);
  a(network.picture);
  a(network.profile);
  a(network.own_grids);
  a(network.quantization);
}

}  // namespace fovea::engine
