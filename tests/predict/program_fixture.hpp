// `fovea predict` as its users run it: the program, models that the test writes, pictures.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>

#include "tests/detector/model_folder.hpp"
#include "tests/imaging/pictures.hpp"

namespace fovea::test {

class PredictProgram : public ModelFolder {
 protected:
  // Of 64x64 pixels and the classes cat and dog. Whatever it sees, it finds a dog of 0.9 at 12..28 x
  // 24..36 and a cat of 0.5 at 30..50 x 20..44 of its input.
  std::string fixed_model() const {
    const auto change = [](std::size_t anchor, std::vector<double>& row) {
      row[4] = row[5] = 0.01;
      if (anchor == 10) row = {20, 30, 16, 12, 0.02, 0.9};
      if (anchor == 40) row = {40, 32, 20, 24, 0.5, 0.03};
    };
    return write("fixed.onnx", {grid(2, true, change)},
                 {{"task", "detect"}, {"names", "{0: 'cat', 1: 'dog'}"}});
  }

  std::string put(const std::string& name, const imaging::File& bytes) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path(name);
  }
  std::string put(const std::string& name, const cv::Mat& image) const {
    return put(name, imaging::encode(std::filesystem::path(name).extension(), image));
  }

  static std::vector<std::string> untuned(std::vector<std::string> words) {
    words.insert(words.end(), {"threads:=1", "builder_optimization_level:=0"});
    return words;
  }
  Outcome predict(std::vector<std::string> words) const {
    return run("fovea-predict", untuned(std::move(words)));
  }
  // The file that --json wrote.
  nlohmann::json results(const std::string& name = "r.json") const {
    std::ifstream file(path(name));
    return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  }
  static std::size_t lines(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  bool something_was_built() const { return std::filesystem::exists(folder_ / "cache"); }
};

}  // namespace fovea::test
