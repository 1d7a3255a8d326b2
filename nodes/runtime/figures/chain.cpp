#include "nodes/runtime/figures/chain.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

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
      links.push_back(std::move(link));
    }
  }
  return links;
}

using Readers = std::multimap<std::string, Link*>;

Readers readers_of(std::vector<Link>& links) {
  Readers readers;
  for (Link& link : links) {
    for (const std::string& topic : link.reads) readers.emplace(topic, &link);
  }
  return readers;
}

bool is_source(const Link& link) { return link.reads.empty() && !link.writes.empty(); }

bool is_read(const Link& link, const Readers& readers) {
  return std::any_of(link.writes.begin(), link.writes.end(),
                     [&](const std::string& topic) { return readers.contains(topic); });
}

// Sources that nobody reads, if others are read.
std::vector<const Link*> unread_sources(const std::vector<Link>& links, const Readers& readers) {
  std::vector<const Link*> unread;
  bool any_read = false;
  for (const Link& link : links) {
    if (!is_source(link)) continue;
    const bool read = is_read(link, readers);
    any_read = any_read || read;
    if (!read) unread.push_back(&link);
  }
  if (!any_read) unread.clear();
  return unread;
}

std::size_t longest_way(Link& from, const Readers& readers) {
  if (from.length > 0 || from.is_open) return from.length;
  from.is_open = true;
  std::size_t longest = 0;
  for (const std::string& topic : from.writes) {
    const auto [begin, end] = readers.equal_range(topic);
    for (auto reader = begin; reader != end; ++reader) {
      if (reader->second->writes.empty()) continue;  // a recorder, a viewer
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
  const Readers readers = readers_of(links);
  const auto unread = unread_sources(links, readers);
  std::vector<CameraChain> chains;
  for (Link& source : links) {
    if (!is_source(source)) continue;
    longest_way(source, readers);
    CameraChain& chain = chains.emplace_back();
    chain.camera = source.ledger;
    chain.is_unread = std::find(unread.begin(), unread.end(), &source) != unread.end();
    for (const Link* link = &source; link != nullptr; link = link->next) {
      chain.stages.push_back({link->page, link->ledger});
    }
  }
  return chains;
}

std::vector<std::string> loose_ends(std::span<const MetricsReader* const> pages) {
  std::vector<Link> links = read_links(pages);
  const Readers readers = readers_of(links);
  std::vector<std::string> found;
  for (const Link* source : unread_sources(links, readers)) {
    found.push_back(fmt::format("nobody reads {}, which {} writes", fmt::join(source->writes, ", "),
                                source->page->node()));
  }
  std::set<std::string> written;
  for (const Link& link : links) written.insert(link.writes.begin(), link.writes.end());
  for (const auto& [topic, reader] : readers) {
    if (written.contains(topic)) continue;
    found.push_back(fmt::format("nobody writes {}, which {} reads", topic, reader->page->node()));
  }
  return found;
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
