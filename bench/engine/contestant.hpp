// One engine of the bench in a process of its own: what it loads and how much memory it takes is
// then its own, and its threads can be stopped while others run.
//
// The conversation, in lines: the child says `ready FIRST_MS MAGNITUDE` after its first inference;
// then answers `run N` with `times PEAK_RSS_MB MS...` (N times) until its input ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::bench {

// Used by one thread. Contestants get their input ready when made, so that a run is inference only.
class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual Result<> run() = 0;
  // Mean of the outputs' magnitudes after a run, whatever their layout: engines that agree agree in
  // it.
  virtual double magnitude() const = 0;
};

// What a contestant is to run.
struct Task {
  std::string model;  // file
  int threads = 1;
  std::size_t height = 0;  // of the picture
  std::size_t width = 0;
  std::string precision = "f32";  // of a model in f32, for those who choose: "f32", "bf16"
};
using MakeContestant = std::function<Result<std::unique_ptr<Contestant>>(const Task& task)>;

// main() of a contestant's process: arguments MODEL THREADS HEIGHT WIDTH PRECISION; serves until
// its input ends.
int serve(int argc, char** argv, const MakeContestant& make);

// The same picture for everyone, u8 [height, width, 3]: blocks of noise.
std::vector<std::uint8_t> picture(std::size_t height, std::size_t width);
// It as a model of an exporter wants it: f32 [3, height, width], 0..1.
std::vector<float> planes(std::size_t height, std::size_t width);

// Sum of magnitudes.
double magnitude_of(std::span<const float> values);

}  // namespace fovea::bench
