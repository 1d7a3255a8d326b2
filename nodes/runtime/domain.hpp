// Where everything of one deployment lies: computed addresses instead of discovery. Two pipelines
// on a host live side by side in two domains.
//
//   sockets   $XDG_RUNTIME_DIR/fovea/<domain>/<topic>.topic, <node>.control, <number>.doorbell
//             (else /tmp/fovea-<uid>/...)
//   pools     /dev/shm/fovea.<domain>.<topic>.<incarnation>
//   metrics   /dev/shm/fovea.<domain>.<node>.metrics
//
// A `/` in a topic name becomes `:` in file names. Thread safety: const after open().
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

class Domain {
 public:
  // Creates the socket directory (0700) if absent. `name` as for nodes; empty takes $FOVEA_DOMAIN,
  // else "default". $FOVEA_SHM_DIR replaces /dev/shm (tests, small tmpfs). Errors: a bad name; a
  // directory that another user owns or others may enter (kInvalidArgument).
  static Result<Domain> open(std::string_view name = "");

  const std::string& name() const { return name_; }
  const std::filesystem::path& socket_directory() const { return socket_directory_; }
  const std::filesystem::path& shm_directory() const { return shm_directory_; }

  // `ipc://...`. Errors: bad name, or a path beyond the 107 bytes of a Unix socket; the message
  // names the path, its length and the part to shorten.
  Result<std::string> topic_endpoint(std::string_view topic) const;
  Result<std::string> control_endpoint(std::string_view node) const;

  // REQUIRES: a topic or node name that passes check_topic() or check_name().
  std::filesystem::path pool_path(std::string_view topic, std::uint64_t incarnation) const;
  std::filesystem::path metrics_path(std::string_view node) const;
  // The socket on which the subscription with this random number gets its messages.
  std::filesystem::path doorbell_path(std::uint64_t id) const;

  // Names found on disk, sorted, whether or not their owner still lives.
  std::vector<std::string> list_topics() const;
  std::vector<std::string> list_nodes() const;
  std::vector<std::filesystem::path> list_pools(std::string_view topic) const;

  // Whether a process listens on the topic's or control socket of this name now, or may do so where
  // that cannot be told.
  bool topic_alive(std::string_view topic) const;
  bool control_alive(std::string_view node) const;

  // Removes sockets, pools and metrics pages of this domain whose owner is dead; returns what was
  // removed. Safe while others run: a socket goes only if nobody listens, a file only if nobody has
  // the lock on its byte 0. Files of other users are left alone.
  std::vector<std::filesystem::path> sweep() const;

  // Held while a file or socket of this domain is created or removed, so that nobody mistakes a
  // half-made one for a dead one. The kernel frees it at death; the wait for it is bounded.
  // Errors: kUnavailable when another process has it for seconds (stopped?).
  Result<FileHandle> lock() const;

 private:
  struct ShmEntry {
    std::filesystem::path path;
    std::string name;    // topic or node, `/` restored
    std::string suffix;  // incarnation or "metrics"
  };
  std::vector<ShmEntry> list_shm() const;
  std::vector<std::string> list_sockets(std::string_view extension) const;
  std::filesystem::path socket_path(std::string_view name, std::string_view extension) const;
  Result<std::string> endpoint(std::string_view name, std::string_view extension) const;

  std::string name_;
  std::filesystem::path socket_directory_;
  std::filesystem::path shm_directory_;
};

// Names of domains, nodes and cameras: 1..31 of [a-z0-9_-]. Topics: such parts joined by
// `/`, 1..63.
Result<> check_name(std::string_view what, std::string_view name);
Result<> check_topic(std::string_view topic);

// Whether a process listens on the Unix socket at `path`. False also if it does not exist. Errors:
// kExhausted when this process has no descriptor left to ask with.
Result<bool> someone_listens(const std::filesystem::path& path);

}  // namespace fovea
