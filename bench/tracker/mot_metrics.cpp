#include "bench/tracker/mot_metrics.hpp"

#include <cmath>
#include <unordered_map>

#include "nodes/tracker/assignment.hpp"
#include "nodes/tracker/overlap.hpp"

namespace fovea::bench {
namespace {

constexpr double kFits = 0.5;
constexpr std::uint32_t kNone = Assignment::kNone;

// Ids as places 0, 1, 2, ...
class Places {
 public:
  std::uint32_t of(std::uint64_t id) {
    return places_.try_emplace(id, static_cast<std::uint32_t>(places_.size())).first->second;
  }
  std::size_t size() const { return places_.size(); }

 private:
  std::unordered_map<std::uint64_t, std::uint32_t> places_;
};

struct Overlap {
  std::uint32_t truth, track;  // places within the frame
  double value;                // above 0
};

struct Frame {
  std::vector<std::uint32_t> truth, tracks;  // objects and tracks, by place in the sequence
  std::vector<Overlap> overlaps;
};

struct Sequence {
  std::vector<Frame> frames;
  std::size_t objects = 0, tracks = 0;
  std::vector<std::uint64_t> object_frames, track_frames;  // in how many frames each is
};

Sequence read(std::span<const LabelledFrame> labelled) {
  Sequence sequence;
  Places objects, tracks;
  const auto count = [](std::vector<std::uint64_t>& counts, std::uint32_t place) {
    if (counts.size() <= place) counts.resize(place + 1);
    ++counts[place];
  };
  for (const LabelledFrame& in : labelled) {
    Frame frame;
    for (const Labelled& object : in.truth) frame.truth.push_back(objects.of(object.id));
    for (const Labelled& track : in.tracks) frame.tracks.push_back(tracks.of(track.id));
    for (const std::uint32_t object : frame.truth) count(sequence.object_frames, object);
    for (const std::uint32_t track : frame.tracks) count(sequence.track_frames, track);
    for (std::uint32_t i = 0; i < in.truth.size(); ++i) {
      for (std::uint32_t j = 0; j < in.tracks.size(); ++j) {
        const double value = static_cast<double>(overlap(in.truth[i].bbox, in.tracks[j].bbox));
        if (value > 0) frame.overlaps.push_back({i, j, value});
      }
    }
    sequence.frames.push_back(std::move(frame));
  }
  sequence.objects = objects.size();
  sequence.tracks = tracks.size();
  return sequence;
}

// A pair of the frame before stays a pair as long as it fits.
void add_clear_mot(const Sequence& sequence, MotFigures& figures) {
  constexpr double kStays = 1000;
  std::vector<std::uint32_t> last(sequence.objects, kNone), before(sequence.objects, kNone);
  Assignment assignment;
  for (const Frame& frame : sequence.frames) {
    std::vector<AssignmentPair> pairs;
    for (const Overlap& fit : frame.overlaps) {
      if (fit.value < kFits) continue;
      const bool stays = before[frame.truth[fit.truth]] == frame.tracks[fit.track];
      pairs.push_back({fit.truth, fit.track, fit.value + (stays ? kStays : 0)});
    }
    const auto found = assignment.solve(frame.truth.size(), frame.tracks.size(), pairs);
    std::fill(before.begin(), before.end(), kNone);
    std::uint64_t matched = 0;
    for (std::uint32_t i = 0; i < found.size(); ++i) {
      if (found[i] == kNone) continue;
      ++matched;
      const std::uint32_t object = frame.truth[i], track = frame.tracks[found[i]];
      if (last[object] != kNone && last[object] != track) ++figures.switches;
      last[object] = before[object] = track;
    }
    figures.truth += frame.truth.size();
    figures.tracks += frame.tracks.size();
    figures.missed += frame.truth.size() - matched;
    figures.false_tracks += frame.tracks.size() - matched;
  }
}

// [objects, tracks]
class Matrix {
 public:
  explicit Matrix(const Sequence& sequence)
      : columns_(sequence.tracks), values_(sequence.objects * sequence.tracks) {}
  double& at(std::uint32_t object, std::uint32_t track) {
    return values_[object * columns_ + track];
  }

 private:
  std::size_t columns_;
  std::vector<double> values_;
};

void add_identity(const Sequence& sequence, MotFigures& figures) {
  Matrix together(sequence);
  for (const Frame& frame : sequence.frames) {
    for (const Overlap& fit : frame.overlaps) {
      if (fit.value >= kFits) ++together.at(frame.truth[fit.truth], frame.tracks[fit.track]);
    }
  }
  std::vector<AssignmentPair> pairs;
  for (std::uint32_t object = 0; object < sequence.objects; ++object) {
    for (std::uint32_t track = 0; track < sequence.tracks; ++track) {
      pairs.push_back({object, track, together.at(object, track)});
    }
  }
  Assignment assignment;
  const auto found = assignment.solve(sequence.objects, sequence.tracks, pairs);
  for (std::uint32_t object = 0; object < found.size(); ++object) {
    if (found[object] == kNone) continue;
    figures.identity_true += static_cast<std::uint64_t>(together.at(object, found[object]));
  }
}

// How well each object and each track go together over the whole sequence, 0..1; it decides between
// pairs of a frame.
Matrix alignment(const Sequence& sequence) {
  Matrix aligned(sequence);
  for (const Frame& frame : sequence.frames) {
    std::vector<double> truth(frame.truth.size()), tracks(frame.tracks.size());
    for (const Overlap& fit : frame.overlaps) {
      truth[fit.truth] += fit.value;
      tracks[fit.track] += fit.value;
    }
    for (const Overlap& fit : frame.overlaps) {
      aligned.at(frame.truth[fit.truth], frame.tracks[fit.track]) +=
          fit.value / (truth[fit.truth] + tracks[fit.track] - fit.value);
    }
  }
  for (std::uint32_t object = 0; object < sequence.objects; ++object) {
    for (std::uint32_t track = 0; track < sequence.tracks; ++track) {
      double& value = aligned.at(object, track);
      value /= static_cast<double>(sequence.object_frames[object] + sequence.track_frames[track]) -
               value;
    }
  }
  return aligned;
}

void add_hota(const Sequence& sequence, MotFigures& figures) {
  Matrix aligned = alignment(sequence);
  std::vector<Matrix> together(MotFigures::kAlphas, Matrix(sequence));
  Assignment assignment;
  for (const Frame& frame : sequence.frames) {
    std::vector<AssignmentPair> pairs;
    for (const Overlap& fit : frame.overlaps) {
      const double goes = aligned.at(frame.truth[fit.truth], frame.tracks[fit.track]);
      pairs.push_back({fit.truth, fit.track, goes * fit.value});
    }
    const auto found = assignment.solve(frame.truth.size(), frame.tracks.size(), pairs);
    for (const Overlap& fit : frame.overlaps) {
      if (found[fit.truth] != fit.track) continue;
      for (std::size_t a = 0; a < MotFigures::kAlphas; ++a) {
        if (fit.value < 0.05 * static_cast<double>(a + 1) - 1e-9) break;
        ++together[a].at(frame.truth[fit.truth], frame.tracks[fit.track]);
      }
    }
  }
  for (std::size_t a = 0; a < MotFigures::kAlphas; ++a) {
    for (std::uint32_t object = 0; object < sequence.objects; ++object) {
      for (std::uint32_t track = 0; track < sequence.tracks; ++track) {
        const double pairs = together[a].at(object, track);
        if (pairs == 0) continue;
        const double all =
            static_cast<double>(sequence.object_frames[object] + sequence.track_frames[track]);
        figures.hota_true[a] += pairs;
        figures.hota_association[a] += pairs * pairs / (all - pairs);
      }
    }
  }
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

}  // namespace

double MotFigures::mota() const {
  return 1 -
         ratio(static_cast<double>(missed + false_tracks + switches), static_cast<double>(truth));
}

double MotFigures::idf1() const {
  return ratio(2 * static_cast<double>(identity_true), static_cast<double>(truth + tracks));
}

double MotFigures::hota() const {
  double sum = 0;
  for (std::size_t a = 0; a < kAlphas; ++a) {
    const double detection =
        ratio(hota_true[a], static_cast<double>(truth + tracks) - hota_true[a]);
    sum += std::sqrt(detection * ratio(hota_association[a], hota_true[a]));
  }
  return sum / static_cast<double>(kAlphas);
}

MotFigures& MotFigures::operator+=(const MotFigures& other) {
  truth += other.truth;
  tracks += other.tracks;
  missed += other.missed;
  false_tracks += other.false_tracks;
  switches += other.switches;
  identity_true += other.identity_true;
  for (std::size_t a = 0; a < kAlphas; ++a) {
    hota_true[a] += other.hota_true[a];
    hota_association[a] += other.hota_association[a];
  }
  return *this;
}

MotFigures mot_figures(std::span<const LabelledFrame> frames) {
  const Sequence sequence = read(frames);
  MotFigures figures;
  add_clear_mot(sequence, figures);
  add_identity(sequence, figures);
  add_hota(sequence, figures);
  return figures;
}

}  // namespace fovea::bench
