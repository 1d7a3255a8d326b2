#include "launch/bench/peak.hpp"

#include <algorithm>
#include <cmath>

namespace fovea::bench {
namespace {

constexpr double kPrecision = 0.02;
constexpr std::size_t kMostSteps = 16;
constexpr double kSlowest = 0.1;  // Hz
constexpr double kFastest = 1000;
constexpr double kUsableCpu = 0.9;  // of all cores, at the peak

}  // namespace

double estimate_peak(const Report& report) {
  const Figure* cost = report.find("cpu_ms_per_frame");
  const Figure* fps = report.find("fps");
  const Figure* loss = report.find("loss_percent");
  if (cost == nullptr || fps == nullptr || loss == nullptr) return 0;
  // At an overload frames are worked on in vain, so what came out tells more.
  const bool kept_up = loss->mean() < 100 * kPeakLoss && cost->mean() > 0;
  const double all =
      kept_up ? kUsableCpu * 1e3 * std::max(report.host.cores, 1u) / cost->mean() : fps->mean();
  return all / report.config.cameras;
}

Result<PeakSearch> search_peak(double start, double stride,
                               const std::function<Result<double>(double rate)>& loss_at) {
  PeakSearch search;
  double too_fast = 0;
  double rate = std::clamp(start, kSlowest, kFastest);
  while (search.steps.size() < kMostSteps && rate >= kSlowest && rate <= kFastest &&
         (search.rate == 0 || too_fast == 0 || too_fast / search.rate > 1 + kPrecision)) {
    FOVEA_ASSIGN(const double loss, loss_at(rate));
    search.steps.push_back({rate, loss, loss < kPeakLoss});
    const bool kept_up = search.steps.back().kept_up;
    (kept_up ? search.rate : too_fast) = rate;
    if (search.rate != 0 && too_fast != 0) {
      rate = std::sqrt(search.rate * too_fast);
    } else {
      rate = kept_up ? rate * stride : rate / stride;
      stride *= stride;  // a bad start costs few steps
    }
  }
  return search;
}

}  // namespace fovea::bench
