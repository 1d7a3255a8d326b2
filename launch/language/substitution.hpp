// ROS 2's substitutions in launch files: $(var NAME), $(env NAME [DEFAULT]), $(dirname), and our
// $(share). They nest: $(env MODEL $(var model)). Pure text; the caller adds file and line to
// errors.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "nodes/base/result.hpp"

namespace fovea::launch {

// Variables that name each other multiply their text.
inline constexpr std::size_t kMaxValueBytes = std::size_t{64} << 10;

struct SubstitutionContext {
  std::map<std::string, std::string> variables;
  std::string dirname;  // folder of the launch file
  std::string share;    // folder that holds config/ and launch/
};

// Errors (kInvalidArgument): undefined variable, unset environment variable without default,
// unknown substitution, unbalanced parenthesis, more than kMaxValueBytes; each names the text and
// the nearest valid name.
Result<std::string> expand(std::string_view text, const SubstitutionContext& context);

}  // namespace fovea::launch
