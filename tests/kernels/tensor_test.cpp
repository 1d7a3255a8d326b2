// The strided operators: each implementation against loops over indices, for layouts that a
// detector has and for odd ones.
#include "nodes/detector/engine/cpu/kernels/tensor.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "tests/kernels/instruction_sets.hpp"

namespace fovea::kernel_test {
namespace {

using namespace engine::kernels;  // NOLINT: the operators under test
using engine::DataType;
using engine::Dims;
using engine::cpu::ThreadPool;

constexpr Grid kGrid{0.05F, 100};

// Memory behind a view, with its elements found by index.
class Tensor {
 public:
  Tensor(Dims extents, Dims strides, DataType type = DataType::kFloat32)
      : extents_(std::move(extents)), view_{type, type == DataType::kUint8 ? kGrid : Grid{}, {}} {
    view_.strides = std::move(strides);
    std::int64_t last = 0;
    for (std::size_t i = 0; i < extents_.size(); ++i) last += (extents_[i] - 1) * view_.strides[i];
    bytes_.assign(static_cast<std::size_t>((last + 1) * element_bytes(type)), std::byte{0xff});
  }
  void randomise(std::mt19937& random) {
    std::normal_distribution<float> normal;
    for_each([&](const Dims& at) {
      store_element(bytes_.data(), view_.type, view_.grid, place(at), normal(random));
    });
  }
  template <class Visit>
  void for_each(Visit visit) const {
    Dims at(extents_.size(), 0);
    for (;;) {
      visit(at);
      std::size_t axis = extents_.size();
      while (axis-- > 0 && ++at[axis] == extents_[axis]) at[axis] = 0;
      if (axis == static_cast<std::size_t>(-1)) return;
    }
  }
  double operator()(const Dims& at) const {
    return static_cast<double>(load_element(bytes_.data(), view_.type, view_.grid, place(at)));
  }
  const Dims& extents() const { return extents_; }
  const TensorView& view() const { return view_; }
  void* data() { return bytes_.data(); }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  // Bytes that no element has must stay as they were made.
  void expect_gaps_untouched() const {
    std::vector<bool> used(bytes_.size());
    const auto size = static_cast<std::size_t>(element_bytes(view_.type));
    for_each([&](const Dims& at) {
      const auto first = static_cast<std::size_t>(place(at)) * size;
      for (std::size_t i = 0; i < size; ++i) used[first + i] = true;
    });
    for (std::size_t i = 0; i < used.size(); ++i) {
      if (!used[i]) {
        ASSERT_EQ(bytes_[i], std::byte{0xff}) << "byte " << i;
      }
    }
  }

 private:
  std::int64_t place(const Dims& at) const {
    return std::inner_product(at.begin(), at.end(), view_.strides.begin(), std::int64_t{0});
  }

  Dims extents_;
  TensorView view_;
  std::vector<std::byte> bytes_;
};

void run(const Kernel& kernel, std::initializer_list<const void*> sources, void* to, int threads) {
  auto pool = ThreadPool::create({.threads = threads});
  ASSERT_TRUE(pool.has_value());
  std::vector<std::byte> scratch(kernel.scratch_bytes(threads) + 64);
  const auto address = reinterpret_cast<std::uintptr_t>(scratch.data());
  void* destinations[] = {to};
  kernel.run({.sources = {sources.begin(), sources.size()},
              .destinations = destinations,
              .scratch = scratch.data() + (64 - address % 64) % 64},
             **pool);
}

double apply(MapOp op, double a, double b) {
  switch (op) {
    case MapOp::kCopy:
      return a;
    case MapOp::kSigmoid:
      return 1 / (1 + std::exp(-a));
    case MapOp::kSilu:
      return a / (1 + std::exp(-a));
    case MapOp::kRelu:
      return std::max(a, 0.0);
    case MapOp::kErf:
      return std::erf(a);
    case MapOp::kGelu:
      return a / 2 * (1 + std::erf(a / std::sqrt(2.0)));
    case MapOp::kAdd:
      return a + b;
    case MapOp::kSub:
      return a - b;
    case MapOp::kMul:
      return a * b;
    case MapOp::kDiv:
      return a / b;
  }
  return 0;
}

struct MapCase {
  const char* name;
  Dims extents;
  Dims a;
  Dims b;
  Dims to;
};
const MapCase kMapCases[] = {
    {"dense", {3, 5, 37}, {185, 37, 1}, {185, 37, 1}, {185, 37, 1}},
    {"transposed", {7, 33}, {1, 7}, {33, 1}, {33, 1}},
    {"yolov5_rows", {1, 3, 4, 5, 23}, {0, 23, 345, 69, 1}, {0, 0, 0, 0, 0}, {0, 460, 115, 23, 1}},
    {"two_of_many", {3, 40, 2}, {920, 23, 1}, {80, 2, 1}, {80, 2, 1}},
    {"into_a_slice", {2, 19, 3}, {57, 3, 1}, {0, 0, 1}, {500, 9, 1}},
    {"picture_to_planes", {1, 6, 4, 5}, {0, 1, 40, 8}, {0, 20, 5, 1}, {0, 20, 5, 1}},
    {"one_element", {1, 1}, {0, 0}, {0, 0}, {0, 0}},
    {"long", {40000}, {1}, {1}, {1}},
};

TEST(TensorMap, EveryOperatorTypeAndLayoutMatchesItsDefinition) {
  std::mt19937 random(1);
  for (const CpuFeatures& features : instruction_sets()) {
    for (const MapCase& shape : kMapCases) {
      for (int op = 0; op <= static_cast<int>(MapOp::kDiv); ++op) {
        for (const DataType type : {DataType::kFloat32, DataType::kUint8, DataType::kFloat16}) {
          SCOPED_TRACE(fmt::format("{} op {} type {}", shape.name, op, static_cast<int>(type)));
          Tensor a(shape.extents, shape.a, type);
          Tensor b(shape.extents, shape.b);
          Tensor to(shape.extents, shape.to);
          a.randomise(random);
          b.randomise(random);
          MapSpec spec{static_cast<MapOp>(op), shape.extents, {{a.view(), {}}}, to.view()};
          if (is_binary(spec.op)) spec.operands.push_back({b.view(), {}});
          auto kernel = create_map(spec, features);
          ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
          run(**kernel, {a.data(), b.data()}, to.data(), 1 + op % 3);
          to.for_each([&](const Dims& at) {
            const double want = apply(spec.op, a(at), b(at));
            ASSERT_NEAR(to(at), want, 2e-6 * std::max(1.0, std::abs(want)));
          });
          to.expect_gaps_untouched();
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(TensorMap, ConstantsAreOperandsWithoutAddresses) {
  std::mt19937 random(2);
  for (const CpuFeatures& features : instruction_sets()) {
    Tensor a({5, 21}, {21, 1});
    Tensor to({5, 21}, {1, 5}, DataType::kUint8);
    a.randomise(random);
    MapSpec spec{MapOp::kSub, {5, 21}, {{{}, {4, 3, 2, 1, 0}}, {a.view(), {}}}, to.view()};
    spec.operands[0].view.strides = {1, 0};
    auto kernel = create_map(spec, features);
    ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
    run(**kernel, {a.data()}, to.data(), 2);
    to.for_each([&](const Dims& at) {
      ASSERT_NEAR(to(at), static_cast<double>(4 - at[0]) - a(at), 0.026);
    });
    spec.operands[0].constant.pop_back();
    EXPECT_FALSE(create_map(spec, features).has_value());
  }
}

// As the scores of a broken model must be.
TEST(TensorSoftmax, ARowWithNanOrInfinityHasNoShares) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const CpuFeatures& features : instruction_sets()) {
    for (const std::int64_t count : {1, 4, 19, 64}) {
      for (const std::int64_t at : {std::int64_t{0}, count / 2, count - 1}) {
        for (const float broken : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
          std::mt19937 random(3);
          Tensor from({1, count}, {count, 1});
          Tensor to({1, count}, {count, 1});
          from.randomise(random);
          static_cast<float*>(from.data())[at] = broken;
          auto kernel = create_softmax({{1, count}, 1, from.view(), to.view()}, features);
          ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
          run(**kernel, {from.data()}, to.data(), 2);
          for (std::int64_t i = 0; i < count; ++i) {
            EXPECT_TRUE(std::isnan(static_cast<float*>(to.data())[i]))
                << i << " of " << count << ", " << broken << " at " << at;
          }
        }
      }
    }
  }
}

TEST(TensorSoftmax, SharesSumToOneAlongAnyAxis) {
  std::mt19937 random(3);
  struct Case {
    Dims extents;
    std::size_t axis;
    Dims from;
    Dims to;
  };
  const Case cases[] = {{{2, 9, 400}, 2, {3600, 400, 1}, {3600, 400, 1}},
                        {{2, 16, 11}, 1, {176, 11, 1}, {176, 1, 16}},
                        {{3, 1}, 1, {1, 1}, {1, 1}},
                        {{17, 5}, 0, {5, 1}, {7, 1}}};
  for (const CpuFeatures& features : instruction_sets()) {
    for (const Case& shape : cases) {
      Tensor from(shape.extents, shape.from);
      Tensor to(shape.extents, shape.to);
      from.randomise(random);
      *static_cast<float*>(from.data()) = 200;  // exp() of it overflows
      auto kernel = create_softmax({shape.extents, shape.axis, from.view(), to.view()}, features);
      ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
      run(**kernel, {from.data()}, to.data(), 2);
      to.for_each([&](const Dims& at) {
        double highest = from(at);
        Dims other = at;
        for (other[shape.axis] = 0; other[shape.axis] < shape.extents[shape.axis];
             ++other[shape.axis]) {
          highest = std::max(highest, from(other));
        }
        double sum = 0;
        for (other[shape.axis] = 0; other[shape.axis] < shape.extents[shape.axis];
             ++other[shape.axis]) {
          sum += std::exp(from(other) - highest);
        }
        ASSERT_NEAR(to(at), std::exp(from(at) - highest) / sum, 1e-6);
      });
      to.expect_gaps_untouched();
    }
  }
}

TEST(TensorMatMul, EveryLayoutMatchesTheDefinition) {
  std::mt19937 random(4);
  struct Case {
    std::int64_t batch, rows, columns, depth;
    Dims a, b, to;
    DataType type = DataType::kFloat32;
  };
  const Case cases[] = {
      {2, 13, 37, 5, {65, 5, 1}, {185, 37, 1}, {481, 37, 1}},
      {1, 8, 32, 16, {0, 16, 1}, {0, 32, 1}, {0, 32, 1}},
      {1, 1, 1, 1, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}},
      // Queries and keys where a convolution left them, 128 channels a pixel.
      {2, 50, 50, 32, {64, 128, 1}, {64, 1, 128}, {2500, 50, 1}},
      {2, 50, 50, 32, {64, 128, 1}, {64, 1, 128}, {2500, 50, 1}, DataType::kUint8},
      // Values times transposed shares, as planes and as pixels.
      {2, 64, 50, 50, {64, 1, 128}, {2500, 1, 50}, {3200, 50, 1}},
      {2, 64, 50, 50, {64, 1, 128}, {2500, 1, 50}, {64, 1, 140}},
      {3, 9, 33, 7, {0, 1, 9}, {0, 33, 1}, {297, 1, 9}},
  };
  for (const CpuFeatures& features : instruction_sets()) {
    for (const Case& shape : cases) {
      Tensor a({shape.batch, shape.rows, shape.depth}, shape.a, shape.type);
      Tensor b({shape.batch, shape.depth, shape.columns}, shape.b, shape.type);
      Tensor to({shape.batch, shape.rows, shape.columns}, shape.to);
      a.randomise(random);
      b.randomise(random);
      auto kernel = create_matmul(
          {{shape.batch}, shape.rows, shape.columns, shape.depth, a.view(), b.view(), to.view()},
          features);
      ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
      for (const int threads : {1, 3}) {
        run(**kernel, {a.data(), b.data()}, to.data(), threads);
        to.for_each([&](const Dims& at) {
          double want = 0;
          for (std::int64_t k = 0; k < shape.depth; ++k) {
            want += a({at[0], at[1], k}) * b({at[0], k, at[2]});
          }
          ASSERT_NEAR(to(at), want, 2e-5 * std::max(1.0, std::abs(want)));
        });
        to.expect_gaps_untouched();
      }
    }
  }
}

TEST(TensorSpecs, ContradictionsAreRefusedWithTheValue) {
  const TensorView view{DataType::kFloat32, {}, {5, 1}};
  const auto message = [](const MapSpec& spec) {
    const auto kernel = create_map(spec);
    return kernel ? std::string("accepted") : kernel.error().message;
  };
  EXPECT_EQ(message({MapOp::kAdd, {4, 5}, {{view, {}}}, view}), "the operator has 1 operands");
  EXPECT_EQ(message({MapOp::kCopy, {4, 5, 2}, {{view, {}}}, view}),
            "operand has 2 strides; it must have 3");
  EXPECT_EQ(message({MapOp::kCopy, {4, 0}, {{view, {}}}, view}),
            "extents are [4, 0]; they must be positive, 8 axes and 536870912 elements at most");
  EXPECT_FALSE(create_softmax({{4, 5}, 2, view, view}).has_value());
  EXPECT_FALSE(create_matmul({{}, 4, 5, 0, view, view, view}).has_value());
}

}  // namespace
}  // namespace fovea::kernel_test
