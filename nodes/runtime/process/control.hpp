// A node's control socket (ZeroMQ REP, JSON both ways): lifecycle changes and parameters.
//
//   {"op": "get_state"}                                     -> {"ok": true, "state": "active"}
//   {"op": "change_state", "transition": "deactivate"}      -> {"ok": true, "state": "inactive"}
//   {"op": "get_parameters"}                                -> {"ok": true, "parameters": {...}}
//   {"op": "shutdown"}                                      -> {"ok": true}
// Anything else -> {"ok": false, "error": "..."}; malformed requests never end the node. A failed
// transition also carries the state that it led to. A request above 256 KiB gets no reply, its
// connection is closed. Requests wait while a callback of the node
// runs: give change_state a timeout that covers on_configure().
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/process/lifecycle.hpp"

namespace fovea {

// What requests act on. All are called on the thread that answers.
struct ControlOperations {
  std::function<msgs::LifecycleState()> state;
  std::function<Result<>(Transition)> change_state;
  std::function<std::string()> parameters_json;
  std::function<void()> shutdown;
};

// The protocol above without the socket: any bytes are safe, the reply is always one JSON object.
std::string answer_control(std::string_view request, const ControlOperations& operations);

class ControlServer {
 public:
  // Answers one request (JSON text) with JSON text.
  using Handler = std::function<std::string(std::string_view request)>;
  static Result<std::unique_ptr<ControlServer>> create(const Domain& domain, std::string_view node,
                                                       Handler handler);
  virtual ~ControlServer() = default;
  virtual void* socket() = 0;
  virtual void serve() = 0;  // answers everything that waits; call when socket() is readable
};

// One request to a node, from a tool; waits for one that is just starting. Errors: kUnavailable
// when it does not answer within `timeout`. Thread safety: any thread.
Result<std::string> control_request(const Domain& domain, std::string_view node,
                                    std::string_view request,
                                    std::chrono::milliseconds timeout = std::chrono::seconds(2));

}  // namespace fovea
