// Snapshots as text for people: the live table, the final summary, one-line summaries, and the node
// list.
//
// Thread safety: none for RateMeter; the rest are pure functions.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "launch/looking/snapshot.hpp"
#include "launch/looking/topic_commands.hpp"
#include "launch/supervision/supervisor.hpp"

namespace fovea::launch {

struct FrameRates {
  double in = 0;   // frames captured a second
  double out = 0;  // frames delivered a second
};

// Frame rates over the last few seconds of snapshots.
class RateMeter {
 public:
  void add(const Snapshot& snapshot);
  FrameRates rates(const std::string& camera) const;

 private:
  struct Point {
    std::int64_t taken_ns = 0;
    std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> frames;  // captured, delivered
  };
  std::deque<Point> points_;
};

// One line a camera, one a detector, one a node that needs attention. `nodes` may be empty. Lines
// carry no line end and may be longer than a terminal is wide.
std::vector<std::string> live_table(const Snapshot& snapshot, const RateMeter& meter,
                                    const std::vector<NodeReport>& nodes);

// "cam0 connected 25.0 -> 24.9 fps, 3 dropped, 12.3/18.0 ms", one line a camera.
std::vector<std::string> plain_lines(const Snapshot& snapshot, const RateMeter& meter);

// What it all came to, after the end.
std::vector<std::string> final_summary(const Snapshot& snapshot,
                                       const std::vector<NodeReport>& nodes);

// `fovea node list` and `fovea topic list`.
std::vector<std::string> node_table(const std::vector<NodeView>& nodes);
std::vector<std::string> topic_table(const std::vector<TopicView>& topics);

// "superseded 12, expired 1"; "none" when nothing was dropped.
std::string describe_drops(const FrameAccount& frames);

}  // namespace fovea::launch
