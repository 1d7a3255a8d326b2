// A node's control socket (ZeroMQ REP, JSON both ways): lifecycle changes and parameters.
//
//   {"op": "get_state"}                                     -> {"ok": true, "state": "active"}
//   {"op": "change_state", "transition": "deactivate"}      -> {"ok": true, "state": "inactive"}
//   {"op": "get_parameters"}                                -> {"ok": true, "parameters": {...}}
//   {"op": "shutdown"}                                      -> {"ok": true}
// Anything else -> {"ok": false, "error": "..."}; malformed requests never end the node.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/result.hpp"

namespace fovea {

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

// One request to a node, from a tool. Errors: kUnavailable when it does not answer within `timeout`.
Result<std::string> control_request(const Domain& domain, std::string_view node, std::string_view request,
                                    std::chrono::milliseconds timeout = std::chrono::seconds(2));

}  // namespace fovea
