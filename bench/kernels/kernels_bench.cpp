// The own convolution kernels against oneDNN over YOLOv8n's 63 convolutions, bias and activation
// included: every layer with its fastest tactic, and the sum of all layers in their order.
//
// All sides take turns in one run, so that a busy machine slows all of them. libgomp's threads keep
// spinning for milliseconds after oneDNN's last call, so every turn begins after a pause.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <omp.h>

#include "bench/kernels/onednn_convolution.hpp"
#include "nodes/base/terminal.hpp"
#include "tests/kernels/convolution_problem.hpp"

namespace {

using namespace fovea;  // NOLINT(google-build-using-namespace): a program, not a header
using engine::DataType;
using engine::cpu::ThreadPool;
using engine::kernels::create_convolution;
using engine::kernels::enumerate_tactics;
using engine::kernels::Kernel;
using kernel_test::ConvolutionProblem;
using kernel_test::Variant;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPause(15);

double microseconds(const std::function<void()>& run) {
  const auto start = Clock::now();
  run();
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

double fastest(const std::function<void()>& run, int repetitions) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repetitions; ++i) best = std::min(best, microseconds(run));
  return best;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Layer {
  std::string how;
  std::function<void()> run;
  double least_us =
      std::numeric_limits<double>::infinity();  // of all turns, in the sequence of layers
};

// The table that is timed.
using Table = std::span<const kernel_table::Convolution>;

struct Side {
  std::string name;
  std::vector<Layer> layers;
  std::vector<double> totals_us;
};

Side onednn(const std::string& name, Table table, bool integer) {
  Side side{name, {}, {}};
  for (const auto& shape : table) {
    bench::OneDnnConvolution convolution = bench::make_onednn_convolution(shape, integer);
    side.layers.push_back({convolution.implementation, std::move(convolution.run)});
  }
  return side;
}

// The first layer reads the caller's unpadded u8 picture, the final ones write f32.
Variant variant_of(const kernel_table::Convolution& shape, DataType compute, bool table) {
  Variant variant;
  variant.compute = compute;
  const bool first = shape.in_channels == 3;
  variant.source = first ? DataType::kUint8 : compute;
  variant.physically_padded = !first;
  variant.to = shape.activation ? compute : DataType::kFloat32;
  variant.table = table && shape.activation;
  return variant;
}

Side own(const std::string& name, Table shapes, DataType compute, bool table, bool tune,
         ThreadPool& pool, int repetitions) {
  Side side{name, {}, {}};
  unsigned seed = 1;
  for (const auto& shape : shapes) {
    auto problem =
        std::make_shared<ConvolutionProblem>(shape, variant_of(shape, compute, table), seed++);
    Layer best;
    double best_us = std::numeric_limits<double>::infinity();
    for (const std::string& tactic : enumerate_tactics(problem->spec()).names) {
      if (!best.how.empty() && (tactic == "scalar" || !tune)) continue;
      auto kernel = create_convolution(problem->spec(), tactic);
      if (!kernel) throw std::runtime_error(kernel.error().message);
      std::shared_ptr<const Kernel> shared = std::move(*kernel);
      Layer layer{tactic, [problem, shared, &pool] { problem->run(*shared, pool); }};
      const double time = tune ? fastest(layer.run, repetitions) : 0;
      if (time < best_us) {
        best_us = time;
        best = std::move(layer);
      }
    }
    side.layers.push_back(std::move(best));
  }
  return side;
}

struct Options {
  bool json = false;
  bool layers = false;
  Table table = kernel_table::kYolov8n;
  int repetitions = 31;
  int tuning = 7;
};

void print_layers(const std::vector<Side>& sides, Table table) {
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto& shape = table[i];
    print_out("{:2} {}x{}x{} -> {} k{} s{}:", i, shape.in_channels, shape.in_height,
               shape.in_width, shape.out_channels, shape.kernel, shape.stride);
    for (const Side& side : sides) {
      const Layer& layer = side.layers[i];
      print_out("  {} {:.0f} GOP/s ({})", side.name, shape.operations() / layer.least_us / 1e3,
                 layer.how);
    }
    print_out("\n");
  }
}

// The sum of the layers' least times is the figure to compare: on a shared machine hardly any whole
// turn runs undisturbed, but every layer does in some turn.
double sum_of_least(const Side& side) {
  double sum = 0;
  for (const Layer& layer : side.layers) sum += layer.least_us;
  return sum;
}

void print_totals(const std::vector<Side>& sides, int threads, const Options& options,
                  bool& first) {
  double operations = 0;
  for (const auto& shape : options.table) operations += shape.operations();
  for (const Side& side : sides) {
    const double total = median(side.totals_us);
    const double least = sum_of_least(side);
    const double ratio = sum_of_least(sides[0]) / least;
    const double median_ratio = median(sides[0].totals_us) / total;
    const double rate = operations / least / 1e3;
    if (options.json) {
      print_out(
          "{}  {{\"threads\": {}, \"name\": \"{}\", \"median_us\": {:.1f}, \"median_ratio\": "
          "{:.3f}, "
          "\"sum_of_least_us\": {:.1f}, \"ratio\": {:.3f}, \"gops\": {:.0f}}}",
          first ? "" : ",\n", threads, side.name, total, median_ratio, least, ratio, rate);
      first = false;
    } else {
      print_out(
          "{} threads  {:<22} median {:7.0f} us {:5.2f}x   sum of least {:7.0f} us {:5.2f}x "
          "{:6.0f} GOP/s\n",
          threads, side.name, total, median_ratio, least, ratio, rate);
    }
  }
}

void measure(int threads, const Options& options, bool& first) {
  omp_set_num_threads(threads);
  auto pool = ThreadPool::create({.threads = threads});
  if (!pool) throw std::runtime_error(pool.error().message);
  std::vector<Side> sides;
  const auto add_own = [&](const std::string& name, DataType compute, bool table, bool tune) {
    sides.push_back(own(name, options.table, compute, table, tune, **pool, options.tuning));
  };
  add_own("own f32 tuned", DataType::kFloat32, false, true);
  add_own("own f32 untuned", DataType::kFloat32, false, false);
  add_own("own f16 tuned", DataType::kFloat16, false, true);
  add_own("own int8 table tuned", DataType::kUint8, true, true);
  add_own("own int8 table untuned", DataType::kUint8, true, false);
  add_own("own int8 exact tuned", DataType::kUint8, false, true);
  sides.insert(sides.begin(), onednn("onednn u8s8", options.table, true));
  sides.insert(sides.begin(), onednn("onednn f32", options.table, false));

  constexpr int kWarmUp = 3;
  for (int repetition = -kWarmUp; repetition < options.repetitions; ++repetition) {
    for (Side& side : sides) {
      std::this_thread::sleep_for(kPause);
      side.layers[0].run();  // wakes the side's threads
      double total = 0;
      for (Layer& layer : side.layers) {
        const double time = microseconds(layer.run);
        layer.least_us = std::min(layer.least_us, time);
        total += time;
      }
      if (repetition >= 0) side.totals_us.push_back(total);
    }
  }
  if (options.layers && !options.json) print_layers(sides, options.table);
  print_totals(sides, threads, options, first);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::vector<int> threads{1, 2};
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const int value = i + 1 < argc ? std::atoi(argv[i + 1]) : 0;
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--layers") {
      options.layers = true;
    } else if (argument == "--depthwise") {
      options.table = kernel_table::kDepthwise;
    } else if (argument == "--repetitions" && value > 0) {
      options.repetitions = value;
      ++i;
    } else if (argument == "--threads" && value > 0) {
      threads = {value};
      ++i;
    } else {
      print_error(
                 "usage: {} [--json] [--layers] [--depthwise] [--repetitions N] [--threads N]",
                 argv[0]);
      return 2;
    }
  }
  bool first = true;
  if (options.json) print_out("[\n");
  for (const int count : threads) measure(count, options, first);
  if (options.json) print_out("\n]\n");
  return 0;
}
