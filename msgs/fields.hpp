// Reflection for messages: one field list per message feeds JSON, `fovea topic echo`, recordings
// and the layout hash that both ends of a topic compare. Standard library only; everything here is
// constexpr.
//
//   template <> struct Fields<BoundingBox2D> {
//     static constexpr std::string_view kName = "BoundingBox2D";
//     static constexpr auto kList = std::tuple(
//         field("center_x", &BoundingBox2D::center_x, "px"), ...);
//   };
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "nodes/base/bounded.hpp"

namespace fovea::msgs {

using fovea::BoundedArray;
using fovea::FixedString;

// Specialised for every message and every struct inside one; see above.
template <class M>
struct Fields;

template <class M>
concept Reflected = requires {
  Fields<M>::kName;
};

template <class Owner, class Member>
struct Field {
  std::string_view name;
  Member Owner::*member;
  std::string_view unit;  // "px", "ns", "bytes"; empty where there is none
};

template <class Owner, class Member>
constexpr Field<Owner, Member> field(std::string_view name, Member Owner::*member,
                                     std::string_view unit = "") {
  return {name, member, unit};
}

// Specialised for enums in messages: `static constexpr std::array kNames{std::string_view("bgr8"),
// ...};`, indexed by value.
template <class E>
struct EnumNames;

// The name of an enumerator, or "invalid" for a value that no enumerator has (a peer may send
// anything).
template <class E>
constexpr std::string_view enum_name(E value) {
  const auto index = static_cast<std::size_t>(value);
  return index < EnumNames<E>::kNames.size() ? EnumNames<E>::kNames[index] : "invalid";
}

template <class T>
inline constexpr bool kIsFixedString = false;
template <std::size_t N>
inline constexpr bool kIsFixedString<FixedString<N>> = true;
template <class T>
inline constexpr bool kIsBoundedArray = false;
template <class T, std::size_t N>
inline constexpr bool kIsBoundedArray<BoundedArray<T, N>> = true;
template <class T>
inline constexpr bool kIsStdArray = false;
template <class T, std::size_t N>
inline constexpr bool kIsStdArray<std::array<T, N>> = true;

// Calls visit(field) for each field of M in declaration order.
template <Reflected M, class Visitor>
constexpr void for_each_field(Visitor&& visit) {
  std::apply([&](const auto&... fields) { (visit(fields), ...); }, Fields<M>::kList);
}

namespace detail {

constexpr std::uint64_t kFnvOffset = 0xcbf29ce484222325ull;

constexpr std::uint64_t mix(std::uint64_t hash, std::string_view text) {
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return (hash ^ 0xff) * 0x100000001b3ull;
}
constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t number) {
  for (int i = 0; i < 8; ++i) hash = (hash ^ ((number >> (8 * i)) & 0xff)) * 0x100000001b3ull;
  return hash;
}

template <class T>
constexpr std::uint64_t mix_type(std::uint64_t hash) {
  hash = mix(hash, sizeof(T));
  if constexpr (kIsFixedString<T>) {
    return mix(hash, "string");
  } else if constexpr (kIsBoundedArray<T> || kIsStdArray<T>) {
    using Element = std::remove_cvref_t<decltype(std::declval<T>()[0])>;
    return mix_type<Element>(mix(hash, kIsBoundedArray<T> ? "bounded" : "array"));
  } else if constexpr (std::is_enum_v<T>) {
    hash = mix(hash, "enum");
    for (std::string_view name : EnumNames<T>::kNames) hash = mix(hash, name);
    return hash;
  } else if constexpr (Reflected<T>) {
    hash = mix(hash, Fields<T>::kName);
    for_each_field<T>([&]<class Owner, class Member>(const Field<Owner, Member>& f) {
      hash = mix_type<Member>(mix(mix(hash, f.name), f.unit));
    });
    return hash;
  } else {
    static_assert(std::is_arithmetic_v<T>, "a message field needs Fields<T> or EnumNames<T>");
    return mix(hash, std::is_floating_point_v<T> ? "float" : std::is_signed_v<T> ? "int" : "uint");
  }
}

}  // namespace detail

// Changes whenever a name, unit, type, size or order of any field changes, however deep.
template <Reflected M>
inline constexpr std::uint64_t kLayoutHash = detail::mix_type<M>(detail::kFnvOffset);

}  // namespace fovea::msgs
