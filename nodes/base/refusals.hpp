// Why none of the rows of an ordered list took something: one line for people.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea {

// Thread safety: a plain value.
class Refusals {
 public:
  void add(std::string_view row, std::string reason);

  // "dfl: no raw maps; decoded, decoded_objectness: 'y' is [1, 6]": a reason that several rows have
  // is said once, without their names if it is everybody's.
  std::string text() const;

 private:
  struct Reason {
    std::string rows;
    std::string text;
  };
  std::vector<Reason> reasons_;  // in the order in which they came up
};

}  // namespace fovea
