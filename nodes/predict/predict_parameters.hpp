// The command line of `fovea predict`: the nodes' own parameters, written as a launch's arguments
// are, and a few options.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/predict/predictor.hpp"

namespace fovea::predict {

struct Command {
  PredictorOptions predictor;
  std::vector<std::string> pictures;  // files, folders and videos
  std::string json;                   // file, or "-" for stdout; empty = none
  std::string save;                   // folder; empty = none
  std::string help;                   // what to print instead of all this; else empty
};

// `words` are those behind the program's name. Words NAME:=VALUE are parameters, those without
// `model:=` begin with the model, and all others are pictures. Errors: kInvalidArgument or
// kNotFound, naming the word and what would be valid.
Result<Command> parse_command(const std::vector<std::string>& words);

}  // namespace fovea::predict
