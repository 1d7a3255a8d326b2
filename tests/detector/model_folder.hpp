// Small made-up detectors as ONNX files, and the programs that read them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "tests/engine/onnx_writer.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"

namespace fovea::test {

constexpr std::int64_t kHeadSide = 64;
constexpr std::int64_t kHeadAnchors = 84;  // strides 8, 16, 32

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

class ModelFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-model-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("FOVEA_CACHE_DIR", (folder_ / "cache").c_str(), 1);
    // A domain of its own: two tests at once start detectors of one name.
    for (const auto& [variable, place] : {std::pair("FOVEA_SHM_DIR", folder_ / "shm"),
                                          std::pair("XDG_RUNTIME_DIR", folder_ / "run")}) {
      std::filesystem::create_directory(place);
      std::filesystem::permissions(place, std::filesystem::perms::owner_all);
      ::setenv(variable, place.c_str(), 1);
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }
  Outcome run(const std::string& program, std::vector<std::string> arguments) const {
    Child child(folder_, FOVEA_BIN_DIR "/" + program, std::move(arguments));
    const int code = child.wait();
    return {code, child.out(), child.err()};
  }
  Outcome engine(std::vector<std::string> arguments) const {
    const bool builds = arguments[0] != "list" && arguments[0] != "prune";
    if (builds) arguments.insert(arguments.end(), {"--threads", "1", "--builder-optimization-level", "0"});
    return run("fovea-engine", std::move(arguments));
  }
  Outcome detector(const std::string& model, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"--domain", "test", "--cameras", "cam", "--model", model,
                                          "--threads", "1", "--build", "wait",
                                          "--builder-optimization-level", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run("fovea-detector", std::move(arguments));
  }

  // A model whose outputs are these numbers, whatever it sees.
  struct Output {
    engine::Dims dims;
    std::vector<double> values;
  };
  std::string write(const std::string& name, const std::vector<Output>& outputs,
                    const std::map<std::string, std::string>& metadata = {}) const {
    engine::test::OnnxWriter writer;
    writer.input("images", {1, 3, kHeadSide, kHeadSide});
    writer.floats("w", {1, 3, 8, 8}, std::vector<double>(192, 0.0));
    writer.node("Conv", {"images", "w"}, {"cells"},
                {{"strides", std::vector<std::int64_t>{8, 8}}});
    writer.node("GlobalAveragePool", {"cells"}, {"mean"});
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const std::string number = std::to_string(i);
      std::vector<double> ones(outputs[i].dims.size(), 1);
      writer.ints("shape" + number, ones).floats("value" + number, outputs[i].dims, outputs[i].values);
      writer.node("Reshape", {"mean", "shape" + number}, {"zero" + number});
      writer.node("Add", {"zero" + number, "value" + number}, {"output" + number});
      writer.output("output" + number);
    }
    for (const auto& [key, value] : metadata) writer.metadata(key, value);
    writer.save(path(name));
    return path(name);
  }

  // cx, cy, w, h of every anchor of the grid, then `scores` numbers of 0..1: as columns (YOLOv8) or
  // rows.
  using Change = std::function<void(std::size_t anchor, std::vector<double>& row)>;
  static Output grid(std::size_t scores, bool columns, const Change& change = {}) {
    const std::size_t fields = 4 + scores;
    Output output;
    output.dims = columns ? engine::Dims{1, static_cast<std::int64_t>(fields), kHeadAnchors}
                          : engine::Dims{1, kHeadAnchors, static_cast<std::int64_t>(fields)};
    output.values.resize(fields * kHeadAnchors);
    std::size_t anchor = 0;
    for (const std::size_t stride : {8U, 16U, 32U}) {
      for (std::size_t cell = 0; cell < (64 / stride) * (64 / stride); ++cell, ++anchor) {
        const auto side = static_cast<double>(stride);
        std::vector<double> row = {(static_cast<double>(cell % (64 / stride)) + 0.5) * side,
                                   (static_cast<double>(cell / (64 / stride)) + 0.5) * side,
                                   2 * side, 1.5 * side};
        for (std::size_t s = 0; s < scores; ++s) {
          row.push_back(0.05 * static_cast<double>((anchor * 7 + 3 * s) % 11));
        }
        if (change) change(anchor, row);
        for (std::size_t f = 0; f < fields; ++f) {
          output.values[columns ? f * kHeadAnchors + anchor : anchor * fields + f] = row[f];
        }
      }
    }
    return output;
  }

  std::filesystem::path folder_;
};

}  // namespace fovea::test
