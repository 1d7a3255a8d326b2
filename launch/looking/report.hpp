// The figures of a launch and the node list as JSON, for machines. README.md documents the fields.
#pragma once

#include <string>
#include <vector>

#include "launch/looking/snapshot.hpp"
#include "launch/looking/topic_commands.hpp"
#include "launch/supervision/supervisor.hpp"

namespace fovea::launch {

// `snapshot` is the final one. captured = delivered + sum of drops for every camera.
// `dropped_lines`: log lines that nobody took.
std::string report_json(const Snapshot& snapshot, const std::vector<NodeReport>& nodes,
                        std::uint64_t dropped_lines = 0);

std::string nodes_json(const std::vector<NodeView>& nodes);
std::string topics_json(const std::vector<TopicView>& topics);

}  // namespace fovea::launch
