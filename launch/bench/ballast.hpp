// Fills a tmpfs for a while, so that nobody gets a new pool there. The space is taken by a file
// without a name, which the kernel gives back however this process ends.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <filesystem>

#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bench {

// Whether filling `folder` can hurt nobody: a tmpfs is mounted there and not above it, it holds at
// most 1 GiB, which is memory of the machine's, and nothing lies in it, for a sparse file of
// somebody else's could not grow and its owner would get SIGBUS. Errors: kNotFound;
// kInvalidArgument with the reason and with how to get a folder that may be filled.
Result<> check_may_fill(const std::filesystem::path& folder);

class Ballast {
 public:
  // Takes all that is free in `folder` but the last 64 KiB; again for what came free since.
  // Returns the bytes held. Errors: kInternal where the filesystem takes no file without a name.
  Result<std::uint64_t> fill(const std::filesystem::path& folder);
  void release();
  bool held() const { return static_cast<bool>(file_); }

 private:
  FileHandle file_;
  std::uint64_t bytes_ = 0;
};

}  // namespace fovea::bench
