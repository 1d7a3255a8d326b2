// A camera's frames on their way from node to node, as the nodes' own pages tell it: a ledger says
// which topics its stage reads and writes for a camera, so the way is followed, not written down
// anywhere. A stage that is added between two others is in it by being there.
//
// Thread safety: pure functions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "nodes/runtime/figures/ledger.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea {

struct ChainStage {
  const MetricsReader* page = nullptr;
  std::string ledger;  // the camera's name in that page
};

struct CameraChain {
  std::string camera;              // as the source names it
  std::vector<ChainStage> stages;  // the source first
  // Nobody reads what its source writes, although other sources are read: as a rule a name that is
  // misspelt or missing in a list of cameras.
  bool is_unread = false;
};

// A topic with only one end: `nobody reads right/image, which right writes`, `nobody writes
// rihgt/image, which preprocess reads`. Of the topics that are written only those of unread sources:
// what a pipeline ends in needs no reader.
std::vector<std::string> loose_ends(std::span<const MetricsReader* const> pages);

// One chain for each source (a ledger that writes a topic and reads none), in the order of `pages`.
// From each stage on it takes the longest way; who reads and writes nothing (a recorder, a viewer)
// is no stage of it. Any pages are safe, also ones that tell of a circle.
std::vector<CameraChain> follow_chains(std::span<const MetricsReader* const> pages);

// The stages' counts, read last stage first, so that frames that move meanwhile do not look
// overcounted. In the order of the chain, as account() takes them.
std::vector<StageCounts> read_chain(const CameraChain& chain);

// The types of the nodes that frames pass, in their order; over all chains, each once.
std::vector<std::string> stage_types(std::span<const CameraChain> chains);

}  // namespace fovea
