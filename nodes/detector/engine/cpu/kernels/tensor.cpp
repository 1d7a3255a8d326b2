// Loops over rows of strided tensors. Axes are put into an order in which the innermost is long and
// dense, and neighbours that lie as one are merged, when the kernel is created.
#include "nodes/detector/engine/cpu/kernels/tensor.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kTasksPerThread = 4;
constexpr std::int64_t kMinTaskElements = 4096;  // below, claiming a task costs more than it gives
constexpr std::size_t kMostViews = 3;
constexpr std::int64_t kFloatBytes = 4;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

Result<> check_view(std::string_view what, const TensorView& view, std::size_t rank) {
  if (view.strides.size() != rank) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} strides; it must have {}", what, view.strides.size(), rank));
  }
  if (std::any_of(view.strides.begin(), view.strides.end(), [](auto s) { return s < 0; })) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} has a negative stride", what));
  }
  return check_surface(what, {view.type, 0, 0, view.grid}, 0);
}
Result<> check_extents(const Dims& extents) {
  std::int64_t elements = 1;
  bool good = extents.size() <= kMaxRank;
  for (const std::int64_t extent : extents) {
    good = good && extent >= 1 && extent <= kMaxElements / elements;
    if (good) elements *= extent;
  }
  if (good) return {};
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("extents are [{}]; they must be positive, {} axes and {} elements at most",
                  fmt::join(extents, ", "), kMaxRank, kMaxElements));
}

// Extents with the strides of up to three views, outermost first.
struct Axes {
  Dims extents;
  std::array<Dims, kMostViews> strides;

  std::int64_t rows() const {  // all but the innermost axis
    std::int64_t count = 1;
    for (std::size_t i = 0; i + 1 < extents.size(); ++i) count *= extents[i];
    return count;
  }
  // Where row `row` starts in each view, in elements.
  std::array<std::int64_t, kMostViews> offsets(std::int64_t row) const {
    std::array<std::int64_t, kMostViews> at{};
    for (std::size_t i = extents.size() - 1; i-- > 0;) {
      const std::int64_t place = row % extents[i];
      row /= extents[i];
      for (std::size_t view = 0; view < kMostViews; ++view) at[view] += place * strides[view][i];
    }
    return at;
  }
};

// Unused views have strides of 0. The last view is the destination.
Axes simplify(const Dims& extents, const std::array<Dims, kMostViews>& strides) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] > 1) order.push_back(i);
  }
  const Dims& to = strides[kMostViews - 1];
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return to[a] > to[b]; });
  Axes axes;
  for (const std::size_t axis : order) {
    bool merges = !axes.extents.empty();
    for (std::size_t view = 0; view < kMostViews && merges; ++view) {
      merges = axes.strides[view].back() == strides[view][axis] * extents[axis];
    }
    if (merges) {
      axes.extents.back() *= extents[axis];
    } else {
      axes.extents.push_back(extents[axis]);
    }
    for (std::size_t view = 0; view < kMostViews; ++view) {
      if (merges) {
        axes.strides[view].back() = strides[view][axis];
      } else {
        axes.strides[view].push_back(strides[view][axis]);
      }
    }
  }
  if (axes.extents.empty()) {
    axes.extents = {1};
    axes.strides = {Dims{0}, Dims{0}, Dims{0}};
  }
  // A few dense elements a row would spend the time on rows: the longest axis does better.
  constexpr std::int64_t kShort = 8;
  const auto longest = static_cast<std::size_t>(
      std::max_element(axes.extents.begin(), axes.extents.end()) - axes.extents.begin());
  if (axes.extents.back() < kShort && axes.extents[longest] > axes.extents.back()) {
    std::swap(axes.extents[longest], axes.extents.back());
    for (Dims& view : axes.strides) std::swap(view[longest], view.back());
  }
  return axes;
}

template <class Data>
Elements<Data> elements(const TensorView& view, Data* data, std::int64_t offset,
                        std::int64_t stride) {
  using Byte = std::conditional_t<std::is_const_v<Data>, const std::byte, std::byte>;
  return {static_cast<Byte*>(data) + offset * element_bytes(view.type), stride, view.type,
          view.grid};
}

// work(first, end, worker) over `count` pieces of `size` elements each.
template <class Work>
void divide(cpu::ThreadPool& pool, std::int64_t count, std::int64_t size, const Work& work) {
  const std::int64_t tasks = pool.threads() == 1
                                 ? 1
                                 : std::clamp(count * size / kMinTaskElements, std::int64_t{1},
                                              std::min(count, pool.threads() * kTasksPerThread));
  pool.parallel_for(tasks, [&](std::int64_t task, int worker) {
    work(task * count / tasks, (task + 1) * count / tasks, worker);
  });
}

class Map final : public Kernel {
 public:
  Map(const MapSpec& spec, const TensorRowFunctions& rows) : spec_(spec), rows_(rows) {
    const Dims none(spec.extents.size(), 0);
    axes_ = simplify(spec.extents, {spec.operands[0].view.strides,
                                    spec.operands.size() > 1 ? spec.operands[1].view.strides : none,
                                    spec.to.strides});
  }

  std::string_view implementation() const override { return rows_.name; }
  std::size_t scratch_bytes(int /*threads*/) const override { return 0; }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    std::array<const void*, 2> from{};
    std::size_t source = 0;
    for (std::size_t i = 0; i < spec_.operands.size(); ++i) {
      const MapOperand& operand = spec_.operands[i];
      from[i] = operand.constant.empty() ? arguments.sources[source++] : operand.constant.data();
    }
    divide(pool, axes_.rows(), axes_.extents.back(),
           [&](std::int64_t first, std::int64_t end, int /*worker*/) {
             for (std::int64_t row = first; row < end; ++row) run_row(row, from, arguments);
           });
  }

 private:
  void run_row(std::int64_t index, const std::array<const void*, 2>& from,
               const Arguments& arguments) const {
    const auto at = axes_.offsets(index);
    MapRow row;
    row.op = spec_.op;
    row.count = axes_.extents.back();
    row.a = elements(spec_.operands[0].view, from[0], at[0], axes_.strides[0].back());
    if (is_binary(spec_.op)) {
      row.b = elements(spec_.operands[1].view, from[1], at[1], axes_.strides[1].back());
    }
    row.to = elements(spec_.to, arguments.destinations[0], at[2], axes_.strides[2].back());
    rows_.map(row);
  }

  MapSpec spec_;
  const TensorRowFunctions& rows_;
  Axes axes_;
};

// Softmax or LayerNormalization: takes every row of an axis out, computes in place, and puts it back.
class RowByRow final : public Kernel {
 public:
  RowByRow(const SoftmaxSpec& spec, const TensorRowFunctions& rows)
      : RowByRow(spec.extents, spec.axis, spec.from, spec.to, rows) {}
  RowByRow(const LayerNormalizationSpec& spec, const TensorRowFunctions& rows)
      : RowByRow(spec.extents, spec.extents.size() - 1, spec.from, spec.to, rows) {
    scale_ = spec.scale;
    bias_ = spec.bias;
    epsilon_ = spec.epsilon;
  }

  std::string_view implementation() const override { return rows_.name; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * row_bytes());
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    divide(pool, axes_.rows(), count_, [&](std::int64_t first, std::int64_t end, int worker) {
      auto* row = reinterpret_cast<float*>(arguments.scratch + worker * row_bytes());
      for (std::int64_t index = first; index < end; ++index) {
        const auto at = axes_.offsets(index);
        MapRow copy;
        copy.count = count_;
        copy.a = elements(from_, arguments.sources[0], at[0], axes_.strides[0].back());
        copy.to = {row};
        rows_.map(copy);
        compute(row);
        copy.a = {row};
        copy.to = elements(to_, arguments.destinations[0], at[2], axes_.strides[2].back());
        rows_.map(copy);
      }
    });
  }

 private:
  RowByRow(const Dims& extents, std::size_t axis, const TensorView& from, const TensorView& to,
           const TensorRowFunctions& rows)
      : from_(from), to_(to), rows_(rows), count_(extents[axis]) {
    // The axis goes last, and nothing may merge with it.
    const auto without = [&](Dims dims, std::int64_t last) {
      dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(axis));
      dims.push_back(last);
      return dims;
    };
    axes_.extents = without(extents, count_);
    axes_.strides[0] = without(from.strides, from.strides[axis]);
    axes_.strides[1] = Dims(extents.size(), 0);
    axes_.strides[2] = without(to.strides, to.strides[axis]);
  }

  void compute(float* row) const {
    if (scale_.empty()) return rows_.softmax(row, count_);
    rows_.normalize({row, count_, scale_.data(), bias_.empty() ? nullptr : bias_.data(), epsilon_});
  }
  std::int64_t row_bytes() const { return round_up(count_ * kFloatBytes, 64); }

  TensorView from_;
  TensorView to_;
  const TensorRowFunctions& rows_;
  std::int64_t count_;
  Axes axes_;
  // LayerNormalization only.
  std::vector<float> scale_;
  std::vector<float> bias_;
  float epsilon_ = 0;
};

// Packs b into panels of 32 columns, once if it is known, then each task a into columns of 8 rows: the innermost loop
// reads both front to back.
class MatMul final : public Kernel {
 public:
  MatMul(const MatMulSpec& spec, const TensorRowFunctions& rows) : spec_(spec), rows_(rows) {
    // (a b)^T = b^T a^T: packing wants the columns of b side by side.
    const auto stride = [](const TensorView& view, std::size_t from_end) {
      return view.strides[view.strides.size() - from_end];
    };
    if (spec.weights.empty() && spec.bias.empty() && stride(spec.b, 1) != 1 &&
        stride(spec.b, 2) == 1 && stride(spec.a, 2) == 1) {
      swapped_ = true;
      std::swap(spec_.a, spec_.b);
      std::swap(spec_.rows, spec_.columns);
      for (TensorView* view : {&spec_.a, &spec_.b, &spec_.to}) {
        std::swap(view->strides[view->strides.size() - 1], view->strides[view->strides.size() - 2]);
      }
    }
    batch_.extents = spec_.batch;
    batch_.extents.push_back(1);
    const auto outer = [&](const TensorView& view) {
      Dims dims(view.strides.begin(), view.strides.end() - 2);
      dims.push_back(0);
      return dims;
    };
    batch_.strides = {outer(spec_.a), outer(spec_.b), outer(spec_.to)};
    panels_ = (spec_.columns + kMatMulColumns - 1) / kMatMulColumns;
    if (spec_.weights.empty()) return;
    packed_.resize(static_cast<std::size_t>(panels_ * spec_.depth * kMatMulColumns));
    for (std::int64_t k = 0; k < spec_.depth; ++k)
      pack_b(spec_.weights.data(), 0, k, packed_.data());
    spec_.weights = {};
  }

  std::string_view implementation() const override { return rows_.name; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(b_scratch() + threads * worker_bytes());
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t blocks = (spec_.rows + kMatMulRows - 1) / kMatMulRows;
    for (std::int64_t item = 0; item < batch_.rows(); ++item) {
      const auto at = batch_.offsets(item);
      const auto* packed = reinterpret_cast<const float*>(arguments.scratch);
      if (packed_.empty()) {
        divide(pool, spec_.depth, spec_.columns,
               [&](std::int64_t first, std::int64_t end, int /*worker*/) {
                 for (std::int64_t k = first; k < end; ++k) {
                   pack_b(arguments.sources[b_source()], at[1], k,
                          reinterpret_cast<float*>(arguments.scratch));
                 }
               });
      } else {
        packed = packed_.data();
      }
      divide(pool, blocks, spec_.depth * spec_.columns,
             [&](std::int64_t first, std::int64_t end, int worker) {
               std::byte* scratch = arguments.scratch + b_scratch() + worker * worker_bytes();
               for (std::int64_t block = first; block < end; ++block) {
                 run_block(arguments, at, block * kMatMulRows, packed, scratch);
               }
             });
    }
  }

 private:
  std::int64_t b_scratch() const {
    return packed_.empty() ? panels_ * spec_.depth * kMatMulColumns * kFloatBytes : 0;
  }
  std::int64_t a_bytes() const { return round_up(spec_.depth * kMatMulRows * kFloatBytes, 64); }
  std::int64_t result_columns() const { return panels_ * kMatMulColumns; }
  std::int64_t worker_bytes() const {
    return a_bytes() + kMatMulRows * result_columns() * kFloatBytes;
  }
  static std::int64_t inner(const TensorView& view) { return view.strides.back(); }
  static std::int64_t outer(const TensorView& view) {
    return view.strides[view.strides.size() - 2];
  }

  // Row k of b, which begins at `from` of `source`.
  void pack_b(const void* source, std::int64_t from, std::int64_t k, float* packed) const {
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      const std::int64_t column = panel * kMatMulColumns;
      float* to = packed + (panel * spec_.depth + k) * kMatMulColumns;
      MapRow row;
      row.count = std::min(kMatMulColumns, spec_.columns - column);
      row.a = elements(spec_.b, source, from + k * outer(spec_.b) + column * inner(spec_.b),
                       inner(spec_.b));
      row.to = {to};
      rows_.map(row);
      std::fill(to + row.count, to + kMatMulColumns, 0.0F);
    }
  }

  void run_block(const Arguments& arguments, const std::array<std::int64_t, kMostViews>& at,
                 std::int64_t first_row, const float* packed, std::byte* scratch) const {
    auto* a = reinterpret_cast<float*>(scratch);
    auto* results = reinterpret_cast<float*>(scratch + a_bytes());
    const std::int64_t rows = std::min(kMatMulRows, spec_.rows - first_row);
    if (rows < kMatMulRows) std::fill(a, a + spec_.depth * kMatMulRows, 0.0F);
    for (std::int64_t r = 0; r < rows; ++r) {
      MapRow row;
      row.count = spec_.depth;
      row.a = elements(spec_.a, arguments.sources[packed_.empty() ? 1 - b_source() : 0],
                       at[0] + (first_row + r) * outer(spec_.a), inner(spec_.a));
      row.to = {a + r, kMatMulRows};
      rows_.map(row);
    }
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      const float* b = packed + panel * spec_.depth * kMatMulColumns;
      rows_.multiply({a, b, spec_.depth, results + panel * kMatMulColumns, result_columns()});
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      MapRow row;
      row.count = spec_.columns;
      row.a = {results + r * result_columns()};
      if (!spec_.bias.empty()) {
        row.op = MapOp::kAdd;
        row.b = {spec_.bias.data()};
      }
      row.to = elements(spec_.to, arguments.destinations[0],
                        at[2] + (first_row + r) * outer(spec_.to), inner(spec_.to));
      rows_.map(row);
    }
  }
  std::size_t b_source() const { return swapped_ ? 0 : 1; }

  MatMulSpec spec_;  // as multiplied
  bool swapped_ = false;
  const TensorRowFunctions& rows_;
  Axes batch_;  // and an innermost axis of 1
  std::int64_t panels_ = 0;
  std::vector<float> packed_;  // b, if it is known
};

}  // namespace

Result<std::unique_ptr<const Kernel>> create_map(const MapSpec& spec, const CpuFeatures& features) {
  FOVEA_TRY(check_extents(spec.extents));
  const std::size_t rank = spec.extents.size();
  if (spec.operands.size() != (is_binary(spec.op) ? 2U : 1U)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the operator has {} operands", spec.operands.size()));
  }
  for (const MapOperand& operand : spec.operands) {
    FOVEA_TRY(check_view("operand", operand.view, rank));
    if (operand.constant.empty()) continue;
    std::int64_t last = 0;
    for (std::size_t i = 0; i < rank; ++i) {
      last += (spec.extents[i] - 1) * operand.view.strides[i];
    }
    if (operand.view.type != DataType::kFloat32 ||
        last >= static_cast<std::int64_t>(operand.constant.size())) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("a constant of {} elements is read up to {}", operand.constant.size(), last));
    }
  }
  FOVEA_TRY(check_view("to", spec.to, rank));
  return std::make_unique<Map>(spec, best_tensor_rows(features));
}

Result<std::unique_ptr<const Kernel>> create_softmax(const SoftmaxSpec& spec,
                                                     const CpuFeatures& features) {
  FOVEA_TRY(check_extents(spec.extents));
  FOVEA_TRY(check_view("from", spec.from, spec.extents.size()));
  FOVEA_TRY(check_view("to", spec.to, spec.extents.size()));
  if (spec.axis >= spec.extents.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("axis is {}; there are {}", spec.axis, spec.extents.size()));
  }
  return std::make_unique<RowByRow>(spec, best_tensor_rows(features));
}

Result<std::unique_ptr<const Kernel>> create_layer_normalization(const LayerNormalizationSpec& spec,
                                                                 const CpuFeatures& features) {
  FOVEA_TRY(check_extents(spec.extents));
  FOVEA_TRY(check_view("from", spec.from, spec.extents.size()));
  FOVEA_TRY(check_view("to", spec.to, spec.extents.size()));
  const std::size_t count =
      spec.extents.empty() ? 0 : static_cast<std::size_t>(spec.extents.back());
  if (count == 0 || spec.scale.size() != count ||
      (!spec.bias.empty() && spec.bias.size() != count)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("there are {} scales and {} biases for an axis of {}",
                            spec.scale.size(), spec.bias.size(), count));
  }
  return std::make_unique<RowByRow>(spec, best_tensor_rows(features));
}

Result<std::unique_ptr<const Kernel>> create_matmul(const MatMulSpec& spec,
                                                    const CpuFeatures& features) {
  for (const auto& [rows, columns] :
       {std::pair{spec.rows, spec.depth}, std::pair{spec.depth, spec.columns},
        std::pair{spec.rows, spec.columns}}) {
    Dims extents = spec.batch;
    extents.insert(extents.end(), {rows, columns});
    FOVEA_TRY(check_extents(extents));
  }
  const std::size_t rank = spec.batch.size() + 2;
  FOVEA_TRY(check_view("a", spec.a, rank));
  FOVEA_TRY(check_view("b", spec.b, rank));
  FOVEA_TRY(check_view("to", spec.to, rank));
  if (!spec.bias.empty() && static_cast<std::int64_t>(spec.bias.size()) != spec.columns) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("there are {} biases for {} columns", spec.bias.size(), spec.columns));
  }
  if (!spec.weights.empty()) {
    const auto batch_end = spec.b.strides.end() - 2;
    const std::int64_t last =
        (spec.depth - 1) * spec.b.strides[rank - 2] + (spec.columns - 1) * spec.b.strides[rank - 1];
    if (std::any_of(spec.b.strides.begin(), batch_end, [](auto s) { return s != 0; }) ||
        spec.b.type != DataType::kFloat32 ||
        last >= static_cast<std::int64_t>(spec.weights.size())) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{} weights are read up to {}, or by batch", spec.weights.size(), last));
    }
  }
  return std::make_unique<MatMul>(spec, best_tensor_rows(features));
}

}  // namespace fovea::engine::kernels
