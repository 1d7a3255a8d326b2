// iceoryx's daemon, started for the bench with pools for its frame sizes and stopped with it.
#pragma once

#include <filesystem>
#include <string>

#include <sys/types.h>

namespace fovea::bench {

class RouDi {
 public:
  // Empty `error` = it is ready. Files go to `directory`.
  explicit RouDi(const std::filesystem::path& directory);
  RouDi(const RouDi&) = delete;
  RouDi& operator=(const RouDi&) = delete;
  ~RouDi();

  const std::string& error() const { return error_; }

 private:
  pid_t pid_ = -1;
  std::string error_;
};

}  // namespace fovea::bench
