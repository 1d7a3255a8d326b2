// `fovea topic ...`: tools that meet a topic without knowing its type. They subscribe as anyone
// else does, so they slow nobody; payloads are not read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nodes/runtime/domain.hpp"

namespace fovea::launch {

struct TopicView {
  std::string name;
  bool alive = false;  // a publisher listens
  std::string type;    // empty if not looked for or nothing came
};

// With `peek_types` waits up to a second for one message of each topic.
std::vector<TopicView> view_topics(const Domain& domain, bool peek_types);

// The commands print to stdout, complain on stderr and return the exit code. `count` 0 = until
// interrupted.
int topic_list(const Domain& domain, bool show_types, bool json);
int topic_echo(const Domain& domain, const std::string& topic, std::uint64_t count);
int topic_hz(const Domain& domain, const std::string& topic, std::uint64_t count);

}  // namespace fovea::launch
