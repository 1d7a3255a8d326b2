// The bytes of a constant: its own, or a part of something larger that they keep alive. A plan's
// weights thus exist once, in the bytes of its file, however many networks refer to them.
//
// Thread safety: that of std::vector.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace fovea::engine {

class SharedBytes {
 public:
  SharedBytes() = default;
  // `bytes` live as long as `owner`. REQUIRES: owner.
  SharedBytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
      : borrowed_(bytes), owner_(std::move(owner)) {}

  const std::byte* data() const { return owner_ ? borrowed_.data() : own_.data(); }
  // Of an own copy from now on.
  std::byte* data() {
    detach();
    return own_.data();
  }
  std::size_t size() const { return owner_ ? borrowed_.size() : own_.size(); }
  const std::byte* begin() const { return data(); }
  const std::byte* end() const { return data() + size(); }
  std::byte* begin() { return data(); }

  // What is added is zero.
  void resize(std::size_t size) {
    detach();
    own_.resize(size);
  }

  bool operator==(const SharedBytes& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }

 private:
  void detach() {
    if (!owner_) return;
    own_.assign(borrowed_.begin(), borrowed_.end());
    borrowed_ = {};
    owner_.reset();
  }

  std::vector<std::byte> own_;
  std::span<const std::byte> borrowed_;
  std::shared_ptr<const void> owner_;  // null: own_ holds the bytes
};

}  // namespace fovea::engine
