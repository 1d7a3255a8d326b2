// Results as a table for people: a row for each object (or class of a picture), a picture's name in
// its first one. Which columns there are follows from the task.
//
// Thread safety: const methods from any thread.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "nodes/predict/inputs.hpp"
#include "nodes/predict/prediction.hpp"
#include "nodes/predict/result_file.hpp"

namespace fovea::predict {

class ResultTable {
 public:
  // Columns are as wide as these need, within bounds.
  ResultTable(std::span<const Input> inputs, std::span<const std::string> class_names,
              Task task = Task::kDetect);

  std::string head() const;  // each ends with a line feed
  std::string rows(const Prediction& prediction) const;

 private:
  std::string row(std::string file, const std::string& class_name, float score,
                  const std::string& more) const;

  Task task_;
  std::size_t file_width_;
  std::size_t class_width_;
};

// How often each class was found; of classified pictures, how often it was the best; of semantic
// maps, how often it covered most.
using ClassCounts = std::map<std::string, std::size_t>;

// Two lines: what was found, and how fast by what.
std::string summary_text(const Summary& summary, const ClassCounts& counts, double seconds);

}  // namespace fovea::predict
