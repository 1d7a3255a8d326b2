#include "nodes/runtime/chain.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace fovea {
namespace {

// One ledger of one page.
struct Link {
  const MetricsReader* page = nullptr;
  std::string ledger;
  std::set<std::string> reads, writes;
  // The longest way from here on, once known.
  const Link* next = nullptr;
  std::size_t length = 0;  // 0 = not known
  bool is_open = false;    // its way is being looked for: who comes back here goes in a circle
};

std::vector<Link> read_links(std::span<const MetricsReader* const> pages) {
  std::vector<Link> links;
  for (const MetricsReader* page : pages) {
    std::map<std::string, Link> by_camera;
    std::vector<std::string> order;
    for (MetricSample& sample : page->counters()) {
      const bool reads = sample.name == kTopicReads;
      if ((!reads && sample.name != kTopicWrites) || sample.value == 0) continue;
      const auto [link, is_new] = by_camera.try_emplace(sample.camera);
      if (is_new) order.push_back(sample.camera);
      auto& topics = reads ? link->second.reads : link->second.writes;
      topics.insert(std::move(sample.label));
    }
    for (const std::string& camera : order) {
      Link& link = by_camera[camera];
      link.page = page;
      link.ledger = camera;
      if (!link.writes.empty()) links.push_back(std::move(link));
    }
  }
  return links;
}

using Readers = std::multimap<std::string, Link*>;

std::size_t longest_way(Link& from, const Readers& readers) {
  if (from.length > 0 || from.is_open) return from.length;
  from.is_open = true;
  std::size_t longest = 0;
  for (const std::string& topic : from.writes) {
    const auto [begin, end] = readers.equal_range(topic);
    for (auto reader = begin; reader != end; ++reader) {
      const std::size_t length = longest_way(*reader->second, readers);
      if (length <= longest) continue;
      longest = length;
      from.next = reader->second;
    }
  }
  from.is_open = false;
  return from.length = longest + 1;
}

}  // namespace

std::vector<CameraChain> follow_chains(std::span<const MetricsReader* const> pages) {
  std::vector<Link> links = read_links(pages);
  Readers readers;
  for (Link& link : links) {
    for (const std::string& topic : link.reads) readers.emplace(topic, &link);
  }
  std::vector<CameraChain> chains;
  for (Link& source : links) {
    if (!source.reads.empty()) continue;
    longest_way(source, readers);
    CameraChain& chain = chains.emplace_back();
    chain.camera = source.ledger;
    for (const Link* link = &source; link != nullptr; link = link->next) {
      chain.stages.push_back({link->page, link->ledger});
    }
  }
  return chains;
}

std::vector<StageCounts> read_chain(const CameraChain& chain) {
  std::vector<StageCounts> counts(chain.stages.size());
  for (std::size_t i = counts.size(); i-- > 0;) {
    counts[i] = read_stage(*chain.stages[i].page, chain.stages[i].ledger);
  }
  return counts;
}

std::vector<std::string> stage_types(std::span<const CameraChain> chains) {
  std::vector<std::string> types;
  for (const CameraChain& chain : chains) {
    auto place = types.begin();  // a type that is new stands behind the one before it
    for (const ChainStage& stage : chain.stages) {
      const std::string type = stage.page->type();
      const auto found = std::find(types.begin(), types.end(), type);
      place = (found == types.end() ? types.insert(place, type) : found) + 1;
    }
  }
  return types;
}

}  // namespace fovea
