// Whole files in and out, for plans, caches and models. Writing is atomic, because a reader in
// another process (or after a power cut) must see the old file or the new one, never half of one.
//
// Thread safety: any thread; concurrent writers of one path leave one complete version.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "nodes/runtime/result.hpp"

namespace fovea::engine {

// Errors: kNotFound if PATH is absent or not a regular file, kInternal with errno's text otherwise.
Result<std::vector<std::byte>> read_file(const std::string& path);

// Temporary file in the same folder, fsync, rename, fsync of the folder. On an error PATH is
// untouched and the temporary file is gone. Errors: kExhausted (no space, quota), kInternal.
Result<> write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace fovea::engine
