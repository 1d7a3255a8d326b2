// Encoding of a message: its 64-bit layout hash, then the struct. If the last field is a
// BoundedArray only its used elements are sent. One part, one memcpy, no parsing; a receiver whose
// hash differs refuses.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "msgs/fields.hpp"

namespace fovea::msgs {

enum class DecodeError { kNone, kTooShort, kWrongLayout, kWrongSize, kBadCount };

namespace detail {

// Every byte of M belongs to a listed field: nothing is forgotten and no padding leaks stack
// contents.
template <Reflected M>
constexpr bool fields_cover_struct() {
  std::size_t sum = 0;
  for_each_field<M>([&](const auto& f) { sum += sizeof(std::declval<M&>().*f.member); });
  return sum == sizeof(M);
}

}  // namespace detail

template <class M>
concept Message = Reflected<M> && std::is_trivially_copyable_v<M> &&
    detail::fields_cover_struct<M>() && requires(M m) {
  m.header;
};

namespace detail {

template <class M>
using LastMember = std::remove_cvref_t<
    decltype(std::declval<M>().*
             (std::get<std::tuple_size_v<decltype(Fields<M>::kList)> - 1>(Fields<M>::kList)
                  .member))>;

template <class M>
inline constexpr bool kHasTail = kIsBoundedArray<LastMember<M>>;

template <class M>
constexpr const auto& last_member(const M& message) {
  return message.*
         (std::get<std::tuple_size_v<decltype(Fields<M>::kList)> - 1>(Fields<M>::kList).member);
}

// Bytes of M up to its tail's first element.
template <class M>
constexpr std::size_t fixed_size() {
  if constexpr (kHasTail<M>) {
    return sizeof(M) - sizeof(LastMember<M>::items);
  } else {
    return sizeof(M);
  }
}

template <class M>
constexpr std::size_t element_size() {
  if constexpr (kHasTail<M>) {
    return sizeof(typename decltype(LastMember<M>::items)::value_type);
  } else {
    return 0;
  }
}

}  // namespace detail

inline constexpr std::size_t kHashBytes = sizeof(std::uint64_t);

// Largest encoding of any M.
template <Message M>
inline constexpr std::size_t kMaxWireSize = kHashBytes + sizeof(M);

template <Message M>
std::size_t wire_size(const M& message) {
  std::size_t size = kHashBytes + detail::fixed_size<M>();
  if constexpr (detail::kHasTail<M>)
    size += detail::last_member(message).count * detail::element_size<M>();
  return size;
}

// REQUIRES: out.size() >= wire_size(message). Returns the bytes written.
template <Message M>
std::size_t encode(const M& message, std::span<std::byte> out) {
  const std::size_t size = wire_size(message);
  const std::uint64_t hash = kLayoutHash<M>;
  std::memcpy(out.data(), &hash, kHashBytes);
  std::memcpy(out.data() + kHashBytes, &message, size - kHashBytes);
  return size;
}

// The layout hash a message starts with; 0 if it is too short to have one.
inline std::uint64_t peek_hash(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0;
  if (bytes.size() >= kHashBytes) std::memcpy(&hash, bytes.data(), kHashBytes);
  return hash;
}

namespace detail {

// No bounded array, however deep, uses more elements than it has.
template <Reflected M>
bool counts_fit(const M& value) {
  bool fit = true;
  for_each_field<M>([&](const auto& f) {
    using Member = std::remove_cvref_t<decltype(value.*f.member)>;
    if constexpr (kIsBoundedArray<Member>) {
      fit = fit && (value.*f.member).count <= Member::kCapacity;
      using Element = typename decltype(Member::items)::value_type;
      if constexpr (Reflected<Element>) {
        for (std::uint32_t i = 0; fit && i < (value.*f.member).count; ++i) {
          fit = counts_fit((value.*f.member)[i]);
        }
      }
    } else if constexpr (Reflected<Member>) {
      fit = fit && counts_fit(value.*f.member);
    }
  });
  return fit;
}

}  // namespace detail

// Any bytes are safe; on an error `message` is unspecified.
template <Message M>
DecodeError decode(std::span<const std::byte> bytes, M& message) {
  if (bytes.size() < kHashBytes) return DecodeError::kTooShort;
  if (peek_hash(bytes) != kLayoutHash<M>) return DecodeError::kWrongLayout;
  const std::span<const std::byte> body = bytes.subspan(kHashBytes);
  if (body.size() < detail::fixed_size<M>() || body.size() > sizeof(M))
    return DecodeError::kWrongSize;
  message = M{};
  std::memcpy(static_cast<void*>(&message), body.data(), body.size());
  if (!detail::counts_fit(message)) return DecodeError::kBadCount;
  if constexpr (detail::kHasTail<M>) {
    const auto& tail = detail::last_member(message);
    if (body.size() != detail::fixed_size<M>() + tail.count * detail::element_size<M>()) {
      return DecodeError::kWrongSize;
    }
  } else if (body.size() != sizeof(M)) {
    return DecodeError::kWrongSize;
  }
  return DecodeError::kNone;
}

}  // namespace fovea::msgs
