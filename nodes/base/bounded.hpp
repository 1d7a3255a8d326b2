// Text and lists of bounded length that are trivially copyable, so that they travel in messages and
// lie in shared memory. Standard library only; everything here is constexpr.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fovea {

// Text of at most N-1 bytes, NUL-padded, so that a message stays trivially copyable.
template <std::size_t N>
struct FixedString {
  std::array<char, N> bytes{};

  constexpr FixedString() = default;
  constexpr FixedString(std::string_view text) {  // NOLINT: implicit on purpose
    const std::size_t length = text.size() < N ? text.size() : N - 1;
    for (std::size_t i = 0; i < length; ++i) bytes[i] = text[i];
  }
  constexpr FixedString(const char* text) : FixedString(std::string_view(text)) {}  // NOLINT

  // Safe on hostile bytes: never reads past N.
  constexpr std::string_view view() const {
    std::size_t length = 0;
    while (length < N && bytes[length] != '\0') ++length;
    return {bytes.data(), length};
  }
  constexpr bool operator==(const FixedString& other) const { return view() == other.view(); }
  static constexpr std::size_t kMaxLength = N - 1;
};

// An array of at most N elements of which `count` are used. As the last field of a message only the
// used elements travel; wire.hpp refuses a count beyond N.
template <class T, std::size_t N>
struct BoundedArray {
  std::uint32_t count = 0;
  std::uint32_t reserved = 0;
  std::array<T, N> items{};

  static constexpr std::size_t kCapacity = N;
  constexpr const T* begin() const { return items.data(); }
  constexpr const T* end() const { return items.data() + count; }
  constexpr T* begin() { return items.data(); }
  constexpr T* end() { return items.data() + count; }
  constexpr std::size_t size() const { return count; }
  constexpr bool empty() const { return count == 0; }
  constexpr T& operator[](std::size_t index) { return items[index]; }
  constexpr const T& operator[](std::size_t index) const { return items[index]; }
  constexpr void clear() { count = 0; }
  // False, and nothing added, when full.
  constexpr bool push_back(const T& value) {
    if (count == N) return false;
    items[count++] = value;
    return true;
  }
  constexpr bool operator==(const BoundedArray& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }
};

}  // namespace fovea
