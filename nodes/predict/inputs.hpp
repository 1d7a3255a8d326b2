// Which pictures and videos the words of a command line mean.
//
// Thread safety: pure functions of their arguments and the file system.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::predict {

struct Input {
  std::string path;
  bool is_video = false;
};

struct Inputs {
  struct Problem {
    std::string word;
    Error error;
  };
  std::vector<Input> files;
  std::vector<Problem> problems;  // one for each word that names nothing that can be read
};

// A folder's pictures come in the order of people, without those of its sub-folders; its videos are
// left alone. A file that is named is taken whatever it is called: as a video if its extension is a
// video's, else as a picture. Each file once, however often it is named. Opens nothing.
Inputs collect_inputs(std::span<const std::string> words);

}  // namespace fovea::predict
