// A domain of a test's own: sockets and shared memory in temporary directories, so that tests run
// side by side and leave nothing behind.
#pragma once

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include <stdlib.h>

#include "nodes/runtime/domain.hpp"

namespace fovea::test {

// Thread safety: sets environment variables; create before threads start.
class TestDomain {
 public:
  TestDomain() {
    std::string path = (std::filesystem::temp_directory_path() / "fovea-test.XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp " + path);
    root_ = path;
    std::filesystem::create_directory(root_ / "shm");
    std::filesystem::create_directory(root_ / "run");
    std::filesystem::permissions(root_ / "run", std::filesystem::perms::owner_all);
    setenv("FOVEA_SHM_DIR", (root_ / "shm").c_str(), 1);
    setenv("XDG_RUNTIME_DIR", (root_ / "run").c_str(), 1);
    unsetenv("FOVEA_DOMAIN");
    auto domain = Domain::open("test");
    if (!domain) throw std::runtime_error(domain.error().message);
    domain_ = std::make_unique<Domain>(*std::move(domain));
  }
  ~TestDomain() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  TestDomain(const TestDomain&) = delete;
  TestDomain& operator=(const TestDomain&) = delete;

  const Domain& operator*() const { return *domain_; }
  const Domain* operator->() const { return domain_.get(); }
  const std::filesystem::path& root() const { return root_; }

 private:
  std::filesystem::path root_;
  std::unique_ptr<Domain> domain_;
};

}  // namespace fovea::test
