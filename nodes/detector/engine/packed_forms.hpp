// What kernels made of a constant, for other kernels that need the same: engines of one network at
// several sizes have their packed weights once. A form lives as long as somebody uses it.
//
// Thread safety: const methods from any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace fovea::engine {

class PackedForms {
 public:
  using Bytes = std::shared_ptr<const std::byte[]>;

  PackedForms() = default;
  // Forms belong to one constant's numbers; a copy may get others.
  PackedForms(const PackedForms& /*other*/) {}
  PackedForms& operator=(const PackedForms& other) {
    if (this != &other) forms_.clear();
    return *this;
  }

  // `name` must say all that `make` depends on besides the constant.
  Bytes find_or_make(const std::string& name, const std::function<Bytes()>& make) const {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<const std::byte[]>& known = forms_[name];
    Bytes form = known.lock();
    if (!form) known = form = make();
    return form;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::weak_ptr<const std::byte[]>> forms_;
};

}  // namespace fovea::engine
