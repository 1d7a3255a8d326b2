// Plans (which source pixels make which output pixel, per source size) and the loop over output
// rows.
#include "nodes/preprocess/letterbox.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/preprocess/antialias.hpp"
#include "nodes/preprocess/colour_rows.hpp"
#include "nodes/preprocess/letterbox_kernels.hpp"
#include "nodes/preprocess/placement.hpp"

namespace fovea {
namespace {

using letterbox_kernels::ColumnTap;
using letterbox_kernels::kWeightOne;
using letterbox_kernels::Order;

constexpr std::size_t kOutputChannels = 3;

// The two source positions that one output position lies between; weights sum to kWeightOne.
struct Tap {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  std::int16_t weight_first = 0;
  std::int16_t weight_second = 0;
};

// Half-pixel centres, in the order of single and double precision that cv::resize uses, so that
// weights agree to the last bit.
Tap make_tap(std::uint32_t position, std::uint32_t source_size, std::uint32_t new_size) {
  const double scale = 1.0 / (static_cast<double>(new_size) / source_size);
  const auto exact = static_cast<float>((position + 0.5) * scale - 0.5);
  const float floor = std::floor(exact);
  if (floor < 0) return {0, 0, kWeightOne, 0};
  const auto first = static_cast<std::uint32_t>(floor);
  if (first >= source_size - 1) return {source_size - 1, source_size - 1, kWeightOne, 0};
  const auto weight = static_cast<std::int16_t>(std::lrint((exact - floor) * kWeightOne));
  return {first, first + 1, static_cast<std::int16_t>(kWeightOne - weight), weight};
}

struct Plan {
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  std::uint32_t channels = 0;
  std::uint64_t last_use = 0;
  msgs::LetterboxTransform transform;
  std::vector<ColumnTap> columns;  // new_width
  std::vector<Tap> rows;           // new_height
  AntialiasPlan antialias;         // instead of both
};

Plan make_plan(const msgs::LetterboxTransform& transform, std::uint32_t channels,
               bool antialiased) {
  Plan plan{.source_width = transform.source_width,
            .source_height = transform.source_height,
            .channels = channels,
            .transform = transform,
            .columns = {},
            .rows = {},
            .antialias = {}};
  if (antialiased) {
    plan.antialias = make_antialias_plan(transform);
    return plan;
  }
  plan.columns.reserve(transform.new_width);
  for (std::uint32_t x = 0; x < transform.new_width; ++x) {
    const Tap tap = make_tap(x, transform.source_width, transform.new_width);
    plan.columns.push_back({tap.first * channels, tap.weight_first, tap.weight_second});
  }
  plan.rows.reserve(transform.new_height);
  for (std::uint32_t y = 0; y < transform.new_height; ++y) {
    plan.rows.push_back(make_tap(y, transform.source_height, transform.new_height));
  }
  return plan;
}

Order order_of(msgs::Encoding encoding) {
  switch (encoding) {
    case msgs::Encoding::kBgr8:
      return Order::kBgr;
    case msgs::Encoding::kRgb8:
      return Order::kRgb;
    case msgs::Encoding::kMono8:
      return Order::kMono;
    default:
      return Order::kRgb;  // as ColourRows has them
  }
}

// Of what the kernels read.
std::uint32_t channels_of(msgs::Encoding encoding) {
  return is_native(encoding) ? msgs::channels(encoding) : kOutputChannels;
}

Result<> check(const ImageView& source) {
  if (static_cast<std::size_t>(source.encoding) >= kEncodingNames.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("image encoding is {}; it must be 0..{} ({})",
                            static_cast<std::uint32_t>(source.encoding), kEncodingNames.size() - 1,
                            fmt::join(kEncodingNames, ", ")));
  }
  if (source.width < 1 || source.width > Letterbox::kMaxSide || source.height < 1 ||
      source.height > Letterbox::kMaxSide) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("image is {}x{}; each side must be 1..{}", source.width, source.height,
                            Letterbox::kMaxSide));
  }
  if ((needs_even_width(source.encoding) && source.width % 2 != 0) ||
      (needs_even_height(source.encoding) && source.height % 2 != 0)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("image is {}x{}; of {} the {} must be even", source.width,
                            source.height, msgs::enum_name(source.encoding),
                            needs_even_height(source.encoding) ? "sides" : "width"));
  }
  const std::uint64_t row_bytes = bytes_per_row(source.encoding, source.width);
  if (source.step < row_bytes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("image step is {}; it must be at least {} for {} pixels of {}", source.step,
                    row_bytes, source.width, msgs::enum_name(source.encoding)));
  }
  const std::uint64_t needed =
      std::uint64_t{source.step} * (rows_of_bytes(source.encoding, source.height) - 1) + row_bytes;
  if (source.pixels.size() < needed) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("image has {} bytes; {}x{} {} with step {} needs {}",
                            source.pixels.size(), source.width, source.height,
                            msgs::enum_name(source.encoding), source.step, needed));
  }
  return {};
}

}  // namespace

struct Letterbox::State {
  LetterboxOptions options;
  const letterbox_kernels::Kernels* kernels = nullptr;
  std::vector<Plan> plans;
  std::vector<std::int16_t> blended;  // one source row between the two passes
  AntialiasedResize antialiased;      // instead, for those that average
  ColourRows colours;                 // of encodings that the kernels do not read
  std::uint64_t uses = 0;

  bool is_antialiased() const {
    return options.resize == ResizeMode::kCentreCrop ||
           options.resize == ResizeMode::kStretchAntialiased;
  }
  // For all others.
  void scale(const Plan& plan, const ImageView& source, std::uint8_t* out);
  const Plan& plan_for(const msgs::LetterboxTransform& transform, std::uint32_t channels);
};

const Plan& Letterbox::State::plan_for(const msgs::LetterboxTransform& transform,
                                       std::uint32_t channels) {
  ++uses;
  for (Plan& plan : plans) {
    if (plan.source_width == transform.source_width &&
        plan.source_height == transform.source_height && plan.channels == channels) {
      plan.last_use = uses;
      return plan;
    }
  }
  // Bounded, because a source that changes its size with every frame must not fill the memory.
  if (plans.size() == kMaxPlans) {
    plans.erase(std::min_element(plans.begin(), plans.end(), [](const Plan& a, const Plan& b) {
      return a.last_use < b.last_use;
    }));
  }
  plans.push_back(make_plan(transform, channels, is_antialiased()));
  plans.back().last_use = uses;
  if (is_antialiased()) {
    antialiased.reserve(plans.back().antialias, channels, transform.source_width);
  } else {
    const std::size_t samples =
        std::size_t{transform.source_width} * channels + letterbox_kernels::kSlack;
    if (blended.size() < samples) blended.resize(samples);
    colours.reserve(transform.source_width);
  }
  return plans.back();
}

void Letterbox::State::scale(const Plan& plan, const ImageView& source, std::uint8_t* out) {
  const msgs::LetterboxTransform& t = plan.transform;
  const std::size_t row_bytes = std::size_t{t.network_width} * kOutputChannels;
  const std::size_t left_bytes = std::size_t{t.pad_left} * kOutputChannels;
  const std::size_t image_bytes = std::size_t{t.new_width} * kOutputChannels;
  const std::size_t source_samples = std::size_t{t.source_width} * plan.channels;
  const int pad = options.pad;
  const Order order = order_of(source.encoding);
  const auto* pixels = reinterpret_cast<const std::uint8_t*>(source.pixels.data());
  const bool native = is_native(source.encoding);
  if (!native) colours.begin(source);
  const auto source_row = [&](std::uint32_t y) {
    return native ? pixels + std::size_t{y} * source.step : colours.row(y);
  };

  // Interpolation would give the same bytes, slower.
  const bool scaled = t.new_width != t.source_width || t.new_height != t.source_height;
  std::memset(out, pad, t.pad_top * row_bytes);
  out += t.pad_top * row_bytes;
  for (const Tap& row : plan.rows) {
    const std::uint8_t* upper = source_row(row.first);
    std::uint8_t* image_row = out + left_bytes;
    // A second row without weight is not read at all: a 3:1 reduction touches a third of the
    // source.
    const std::uint8_t* lower = row.weight_second == 0 ? upper : source_row(row.second);
    std::memset(out, pad, left_bytes);
    if (scaled) {
      kernels->blend_rows(upper, lower, row.weight_first, row.weight_second, source_samples,
                          blended.data());
      kernels->resample_row(blended.data(), plan.columns.data(), plan.columns.size(), order,
                            image_row);
    } else {
      kernels->convert_row(upper, plan.columns.size(), order, image_row);
    }
    std::memset(out + left_bytes + image_bytes, pad, row_bytes - left_bytes - image_bytes);
    out += row_bytes;
  }
  const std::size_t bottom = t.network_height - t.pad_top - t.new_height;
  std::memset(out, pad, bottom * row_bytes);
}

Letterbox::Letterbox(std::unique_ptr<State> state) : state_(std::move(state)) {}
Letterbox::Letterbox(Letterbox&&) noexcept = default;
Letterbox& Letterbox::operator=(Letterbox&&) noexcept = default;
Letterbox::~Letterbox() = default;

Result<Letterbox> Letterbox::create(const LetterboxOptions& options) {
  if (options.network_width < 1 || options.network_width > kMaxSide || options.network_height < 1 ||
      options.network_height > kMaxSide) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("network input is {}x{}; each side must be 1..{}",
                            options.network_width, options.network_height, kMaxSide));
  }
  if (static_cast<std::size_t>(options.resize) >= kResizeModeNames.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("resize is {}; it must be 0..{} ({})",
                            static_cast<std::uint32_t>(options.resize), kResizeModeNames.size() - 1,
                            fmt::join(kResizeModeNames, ", ")));
  }
  auto state = std::make_unique<State>();
  state->options = options;
  state->antialiased = AntialiasedResize(options.force_scalar);
  state->colours = ColourRows(options.force_scalar);
  state->kernels = options.force_scalar ? &letterbox_kernels::scalar_kernels()
                                        : &letterbox_kernels::best_kernels();
  state->plans.reserve(kMaxPlans);
  return Letterbox(std::move(state));
}

msgs::LetterboxTransform Letterbox::transform(std::uint32_t source_width,
                                              std::uint32_t source_height) const {
  if (source_width < 1 || source_width > kMaxSide || source_height < 1 ||
      source_height > kMaxSide) {
    return {};
  }
  const LetterboxOptions& options = state_->options;
  return place(options.resize, source_width, source_height, options.network_width,
               options.network_height);
}

Result<msgs::LetterboxTransform> Letterbox::run(const ImageView& source,
                                                std::span<std::byte> destination) {
  FOVEA_TRY(check(source));
  if (destination.size() < output_bytes()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor has {} bytes; {} needs {}", destination.size(), parameters(),
                            output_bytes()));
  }
  const std::uint32_t channels = channels_of(source.encoding);
  const Plan& plan = state_->plan_for(transform(source.width, source.height), channels);
  auto* out = reinterpret_cast<std::uint8_t*>(destination.data());
  if (state_->is_antialiased()) {
    state_->antialiased.run(plan.antialias, source, order_of(source.encoding), out);
  } else {
    state_->scale(plan, source, out);
  }
  return plan.transform;
}

std::size_t Letterbox::output_bytes() const {
  return std::size_t{state_->options.network_width} * state_->options.network_height *
         kOutputChannels;
}

std::string Letterbox::parameters() const {
  const LetterboxOptions& options = state_->options;
  const std::string size = fmt::format("{}x{}", options.network_width, options.network_height);
  const std::string_view mode = kResizeModeNames[static_cast<std::size_t>(options.resize)];
  switch (options.resize) {
    case ResizeMode::kStretch:
      return fmt::format("stretch {} bilinear rgb u8", size);
    case ResizeMode::kStretchAntialiased:
      return fmt::format("stretch {} antialiased bilinear rgb u8", size);
    case ResizeMode::kCentreCrop:
      return fmt::format("centre_crop {} antialiased bilinear rgb u8", size);
    case ResizeMode::kLetterbox:
    case ResizeMode::kLetterboxTopLeft:
      break;
  }
  return fmt::format("{} {} pad {} bilinear rgb u8", mode, size, options.pad);
}

}  // namespace fovea
