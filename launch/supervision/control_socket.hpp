// The launch's control socket: `launch.socket` in the domain's folder, a Unix stream socket on which
// requests and replies are lines. Only this user (and root) may connect.
//
// Bounded in everything: clients, the length of a request, what of a reply waits to be read. A
// client has one request in work at a time, the next is not read before. When all places are taken,
// the client that has been silent for longest makes room. Whatever a client sends, does not send or
// does not read costs that client and nobody else.
//
// Thread safety: none; everything on the executor's thread. Never blocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::launch {

inline constexpr std::size_t kMaxRequestBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxControlClients = 8;

std::filesystem::path control_socket_path(const Domain& domain);

class ControlSocket {
 public:
  // To be called once, now or later, with one line; not after the socket has gone.
  using Reply = std::function<void(const std::string& line)>;
  using Handler = std::function<void(std::string_view request, Reply reply)>;

  // Replaces what lies there. REQUIRES: this process has the domain's LaunchLock, so that what lies
  // there is dead; `executor` outlives the object. Errors: a path that is too long for a socket
  // (kInvalidArgument), kExhausted, kInternal.
  static Result<std::unique_ptr<ControlSocket>> create(Executor& executor, const Domain& domain,
                                                       Handler handler);
  ~ControlSocket();  // closes all clients and removes the socket
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  std::size_t clients() const { return clients_.size(); }
  std::size_t buffered_bytes() const;  // of all requests and replies, for tests

 private:
  struct Client {
    FileHandle fd;
    std::uint64_t number = 0;
    Executor::Id watch = 0;     // 0 while nothing is read from it
    std::string in, out;        // what has not been understood and what has not been taken
    bool in_work = false;       // its request has not been answered
    std::int64_t moved_ns = 0;  // when it last sent or took something
    bool closing = false;       // once `out` has been taken
  };

  ControlSocket(Executor& executor, std::filesystem::path path, FileHandle listener,
                Handler handler);
  void listen();
  void welcome();
  bool make_room();
  void receive(std::uint64_t number);
  void next_request(Client& client);
  void answer(std::uint64_t number, const std::string& line);
  bool send_rest(Client& client);
  void wait_for_more(Client& client);
  void turn();
  bool needs_turn() const;
  void close(std::uint64_t number);
  Client* find(std::uint64_t number);

  Executor& executor_;
  std::filesystem::path path_;
  FileHandle listener_;
  Handler handler_;
  Executor::Id listening_ = 0;
  Executor::Id timer_ = 0;
  std::uint64_t next_number_ = 1;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace fovea::launch
