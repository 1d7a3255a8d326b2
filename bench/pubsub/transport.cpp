#include "bench/pubsub/transport.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "nodes/base/terminal.hpp"

namespace fovea::bench {
namespace {

#ifdef FOVEA_BENCH_ICEORYX
constexpr Transport kIceoryx{"iceoryx", "iceoryx WaitSet", true, &make_iceoryx_source,
                             &make_iceoryx_sink};
#else
constexpr Transport kIceoryx{"iceoryx", "iceoryx WaitSet", false, nullptr, nullptr};
#endif

constexpr std::array kTransports{
    Transport{"fovea", "fovea, doorbell", true, &make_fovea_source, &make_fovea_sink},
    Transport{"fovea-zmq", "fovea, ZeroMQ", true, &make_fovea_source, &make_fovea_sink},
    kIceoryx,
    Transport{"zmq-inplace", "ZeroMQ payload, in place", true, &make_zmq_source, &make_zmq_sink},
    Transport{"zmq", "ZeroMQ payload, copied", true, &make_zmq_source, &make_zmq_sink},
};

}  // namespace

std::span<const Transport> transports() { return kTransports; }

const Transport* find_transport(std::string_view name) {
  const auto found = std::find_if(kTransports.begin(), kTransports.end(),
                                  [&](const Transport& t) { return t.name == name; });
  return found == kTransports.end() ? nullptr : &*found;
}

void give_up(const std::string& why) {
  print_error("fovea-bench-pubsub: {}", why);
  std::_Exit(3);
}

}  // namespace fovea::bench
