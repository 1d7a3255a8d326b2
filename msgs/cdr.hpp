// Messages as ROS 2 tools read them: CDR bytes and the `ros2msg` schema that describes them, both
// from the field list. Recordings are made of these. Standard library only.
//
// CDR (OMG XCDR1, little endian): a 4-byte header, then each primitive aligned to its own size,
// counted from the header's end; strings as length (with NUL), bytes, NUL; bounded arrays as a
// count and the used elements. A message with a payload ends with it, as `uint8[] payload`, because
// a slot reference means nothing outside its host; BufferRef and `reserved` fields are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "msgs/header.hpp"

namespace fovea::msgs {

namespace detail {

inline constexpr std::size_t kCdrHeaderBytes = 4;

template <class T>
inline constexpr bool kIsCdrPrimitive = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// Whether a field of this name and type is part of a recording.
template <class T>
constexpr bool is_recorded(std::string_view name) {
  return !std::is_same_v<T, BufferRef> && name != "reserved";
}

}  // namespace detail

// Writes values one by one; to_cdr() does a whole message.
class CdrWriter {
 public:
  // Appends to `out`, which starts out empty.
  explicit CdrWriter(std::vector<std::byte>& out) : out_(out) {
    out_.assign({std::byte{0}, std::byte{1}, std::byte{0}, std::byte{0}});
  }

  template <class T>
  void put(const T& value) {
    if constexpr (detail::kIsCdrPrimitive<T>) {
      align(sizeof(T));
      append(&value, sizeof value);
    } else if constexpr (kIsFixedString<T>) {
      const std::string_view text = value.view();
      put(static_cast<std::uint32_t>(text.size() + 1));
      append(text.data(), text.size());
      out_.push_back(std::byte{0});
    } else if constexpr (kIsBoundedArray<T>) {
      put(value.count);
      for (const auto& item : value) put(item);
    } else if constexpr (kIsStdArray<T>) {
      for (const auto& item : value) put(item);
    } else {
      for_each_field<T>([&]<class Owner, class Member>(const Field<Owner, Member>& f) {
        if (detail::is_recorded<Member>(f.name)) put(value.*f.member);
      });
    }
  }

  void put_bytes(std::span<const std::byte> bytes) {
    put(static_cast<std::uint32_t>(bytes.size()));
    append(bytes.data(), bytes.size());
  }

 private:
  void align(std::size_t size) {
    const std::size_t at = out_.size() - detail::kCdrHeaderBytes;
    out_.resize(out_.size() + (size - at % size) % size);
  }
  void append(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), bytes, bytes + size);
  }

  std::vector<std::byte>& out_;
};

// Any bytes are safe: every get() checks, and the first failure sticks.
class CdrReader {
 public:
  explicit CdrReader(std::span<const std::byte> bytes)
      : bytes_(bytes), at_(detail::kCdrHeaderBytes) {
    ok_ = bytes.size() >= detail::kCdrHeaderBytes && bytes[0] == std::byte{0} &&
          bytes[1] == std::byte{1};
  }

  bool ok() const { return ok_; }

  template <class T>
  void get(T& value) {
    if constexpr (detail::kIsCdrPrimitive<T>) {
      at_ += (sizeof(T) - (at_ - detail::kCdrHeaderBytes) % sizeof(T)) % sizeof(T);
      if (const auto bytes = take(sizeof(T)); ok_) std::memcpy(&value, bytes.data(), sizeof(T));
    } else if constexpr (kIsFixedString<T>) {
      std::uint32_t length = 0;
      get(length);
      const auto text = take(length);
      if (!ok_ || length == 0) return;
      value = std::string_view(reinterpret_cast<const char*>(text.data()), length - 1);
    } else if constexpr (kIsBoundedArray<T>) {
      get(value.count);
      if (value.count > T::kCapacity) {
        ok_ = false;
        value.count = 0;
      }
      for (auto& item : value) get(item);
    } else if constexpr (kIsStdArray<T>) {
      for (auto& item : value) get(item);
    } else {
      for_each_field<T>([&]<class Owner, class Member>(const Field<Owner, Member>& f) {
        if (detail::is_recorded<Member>(f.name)) get(value.*f.member);
      });
    }
  }

  // Empty after a failure. The bytes belong to the span that the reader was made of.
  std::span<const std::byte> get_bytes() {
    std::uint32_t size = 0;
    get(size);
    return take(size);
  }

 private:
  std::span<const std::byte> take(std::size_t size) {
    ok_ = ok_ && at_ <= bytes_.size() && size <= bytes_.size() - at_;
    if (!ok_) return {};
    at_ += size;
    return bytes_.subspan(at_ - size, size);
  }

  std::span<const std::byte> bytes_;
  std::size_t at_;
  bool ok_ = true;
};

namespace detail {

template <class T>
std::string ros2_type_name() {
  if constexpr (std::is_enum_v<T>) {
    return ros2_type_name<std::underlying_type_t<T>>();
  } else if constexpr (std::is_floating_point_v<T>) {
    return "float" + std::to_string(8 * sizeof(T));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return (std::is_signed_v<T> ? "int" : "uint") + std::to_string(8 * sizeof(T));
  } else if constexpr (kIsFixedString<T>) {
    return "string";
  } else if constexpr (kIsBoundedArray<T> || kIsStdArray<T>) {
    using Element = std::remove_cvref_t<decltype(std::declval<T>()[0])>;
    if constexpr (kIsStdArray<T>) {
      return ros2_type_name<Element>() + "[" + std::to_string(std::tuple_size_v<T>) + "]";
    } else {
      return ros2_type_name<Element>() + "[<=" + std::to_string(T::kCapacity) + "]";
    }
  } else {
    return "fovea_msgs/" + std::string(Fields<T>::kName);
  }
}

template <class T>
void append_ros2_definitions(std::string& out);

template <class M>
void append_ros2_fields(std::string& out) {
  for_each_field<M>([&]<class Owner, class Member>(const Field<Owner, Member>& f) {
    if (!is_recorded<Member>(f.name)) return;
    if constexpr (std::is_enum_v<Member>) {
      std::size_t index = 0;
      for (const std::string_view name : EnumNames<Member>::kNames) {
        out += "# " + std::to_string(index++) + " = " + std::string(name) + '\n';
      }
    }
    out += ros2_type_name<Member>() + ' ' + std::string(f.name);
    if (!f.unit.empty()) out += "  # " + std::string(f.unit);
    out += '\n';
  });
}

// The definitions of the structs inside M, each once, deepest last.
template <class M>
void append_nested_definitions(std::string& out) {
  for_each_field<M>([&]<class Owner, class Member>(const Field<Owner, Member>& f) {
    if (is_recorded<Member>(f.name)) append_ros2_definitions<Member>(out);
  });
}

template <class T>
void append_ros2_definitions(std::string& out) {
  if constexpr (kIsBoundedArray<T> || kIsStdArray<T>) {
    append_ros2_definitions<std::remove_cvref_t<decltype(std::declval<T>()[0])>>(out);
  } else if constexpr (Reflected<T>) {
    const std::string title = "MSG: fovea_msgs/" + std::string(Fields<T>::kName) + '\n';
    if (out.find(title) != std::string::npos) return;
    out += std::string(80, '=') + '\n' + title;
    append_ros2_fields<T>(out);
    append_nested_definitions<T>(out);
  }
}

template <class M>
inline constexpr bool kHasPayload = requires(M m) {
  { m.data } -> std::same_as<BufferRef&>;
};

}  // namespace detail

// "fovea_msgs/msg/Detection2DArray"
template <Reflected M>
std::string ros2_name() {
  return "fovea_msgs/msg/" + std::string(Fields<M>::kName);
}

// The `ros2msg` schema of M and of every struct inside it.
template <Reflected M>
std::string ros2_schema() {
  std::string out;
  detail::append_ros2_fields<M>(out);
  if constexpr (detail::kHasPayload<M>) out += "uint8[] payload\n";
  detail::append_nested_definitions<M>(out);
  return out;
}

// Replaces the contents of `out`. `payload` is written only for a message that has one; REQUIRES:
// it is below 4 GiB.
template <Reflected M>
void to_cdr(const M& message, std::span<const std::byte> payload, std::vector<std::byte>& out) {
  CdrWriter writer(out);
  writer.put(message);
  if constexpr (detail::kHasPayload<M>) writer.put_bytes(payload);
}

// False for bytes that are no CDR encoding of M; any bytes are safe. `payload` (into `bytes`) is
// empty for a message without one. References to slots stay as they were.
template <Reflected M>
bool from_cdr(std::span<const std::byte> bytes, M& message, std::span<const std::byte>& payload) {
  CdrReader reader(bytes);
  reader.get(message);
  payload = {};
  if constexpr (detail::kHasPayload<M>) payload = reader.get_bytes();
  return reader.ok();
}

}  // namespace fovea::msgs
