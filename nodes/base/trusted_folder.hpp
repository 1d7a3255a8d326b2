// Folders that are ours alone, or at least nobody else's to change, where other users may be about
// (/tmp, a cache that is shared). Whoever may write to a folder decides what its files are.
//
// Thread safety: pure functions of the file system. A check holds for the instant in which it was
// made.
#pragma once

#include <filesystem>

#include "nodes/base/result.hpp"

namespace fovea {

// Makes PATH with mode 0700 if it is absent, and refuses one that others own or may enter, and a
// symbolic link. Errors: kInvalidArgument with owner and mode.
Result<> make_private_folder(const std::filesystem::path& path);

// Makes whatever is absent of PATH, with mode 0700. Errors: kInternal or kExhausted, errno's text
// with the folder that could not be made.
Result<> make_folders(const std::filesystem::path& path);

// Whether PATH is a folder of this user or root that nobody else may write to, or that is sticky,
// so that nobody else may replace files in it. A symbolic link must be this user's or root's.
// Errors: kNotFound if there is nothing, kInternal if it is no folder or cannot be looked at, else
// kInvalidArgument with owner, mode and cure.
Result<> check_trusted_folder(const std::filesystem::path& path);

}  // namespace fovea
