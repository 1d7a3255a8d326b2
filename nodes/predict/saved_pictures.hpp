// The folder that drawn pictures go to: which name each gets, and that none takes the place of
// anything but a picture that was drawn before. Each has a note in it that tells those.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/predict/inputs.hpp"

namespace fovea::predict {

// One per input, all different: a picture's own name, as JPEG if it is one and else as PNG; a
// video's is that of the folder of its frames. Where two are equal, the name of the folder that
// each lies in comes first, then a number.
std::vector<std::filesystem::path> saved_names(std::span<const Input> inputs);

// Files that nothing may be written to, whatever path leads there.
class ProtectedFiles {
 public:
  void add(const std::filesystem::path& path);
  bool has(const std::filesystem::path& path) const;

 private:
  std::set<std::pair<std::uint64_t, std::uint64_t>> ids_;  // device, inode
};

class SavedPictures {
 public:
  // Makes the folder. `inputs` are all files that were given. Errors: kInvalidArgument for a folder
  // in which a picture would take the place of one that was given or that nobody drew here;
  // check_writable()'s.
  static Result<SavedPictures> create(const std::filesystem::path& folder,
                                      std::span<const Input> inputs, ProtectedFiles given);

  // Writes what was drawn for input number `input`, and returns its path. A link in its place is
  // replaced, not followed. Errors: write_trusted_file()'s, kInvalidArgument for a place as above.
  Result<std::string> save(std::size_t input, std::optional<std::uint64_t> frame,
                           const Picture& drawn) const;

 private:
  SavedPictures(std::filesystem::path folder, std::vector<std::filesystem::path> names,
                ProtectedFiles given);

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> names_;  // by input
  ProtectedFiles given_;
};

}  // namespace fovea::predict
