// A message as JSON text, from its field list. For people and tools; not on the frame path.
#pragma once

#include <string>

#include "msgs/fields.hpp"

namespace fovea::msgs {

namespace detail {
void append_json(std::string& out,
                 std::string_view text);           // quoted, escaped, invalid UTF-8 replaced
void append_json(std::string& out, double value);  // null for NaN and infinities
void append_json(std::string& out, float value);
void append_json(std::string& out, std::int64_t value);
void append_json(std::string& out, std::uint64_t value);
}  // namespace detail

// Appends `value` to `out`. Bounded arrays show only their used elements, enums their names; a
// count beyond the capacity (hostile bytes) shows the whole array and no more.
template <class T>
void append_json(std::string& out, const T& value) {
  if constexpr (kIsFixedString<T>) {
    detail::append_json(out, value.view());
  } else if constexpr (kIsBoundedArray<T> || kIsStdArray<T>) {
    const std::size_t size = [&] {
      if constexpr (kIsBoundedArray<T>) {
        return value.count < T::kCapacity ? value.count : T::kCapacity;
      } else {
        return value.size();
      }
    }();
    out += '[';
    for (std::size_t i = 0; i < size; ++i) {
      if (i > 0) out += ',';
      append_json(out, value[i]);
    }
    out += ']';
  } else if constexpr (std::is_enum_v<T>) {
    detail::append_json(out, enum_name(value));
  } else if constexpr (Reflected<T>) {
    out += '{';
    bool first = true;
    for_each_field<T>([&](const auto& f) {
      if (f.name == "reserved") return;
      if (!first) out += ',';
      first = false;
      detail::append_json(out, f.name);
      out += ':';
      append_json(out, value.*f.member);
    });
    out += '}';
  } else if constexpr (std::is_floating_point_v<T>) {
    detail::append_json(out, value);
  } else if constexpr (std::is_signed_v<T>) {
    detail::append_json(out, static_cast<std::int64_t>(value));
  } else {
    detail::append_json(out, static_cast<std::uint64_t>(value));
  }
}

template <Reflected M>
std::string to_json(const M& message) {
  std::string out;
  append_json(out, message);
  return out;
}

}  // namespace fovea::msgs
