#include "launch/supervision/control_client.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "launch/supervision/control_socket.hpp"
#include "nodes/base/file_handle.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

constexpr int kExitRefused = 1;
constexpr int kExitUsage = 2;
// Above every list of nodes.
constexpr std::size_t kMaxReplyBytes = std::size_t{4} << 20;

Result<FileHandle> connect_to(const Domain& domain, std::chrono::milliseconds timeout) {
  const std::filesystem::path path = control_socket_path(domain);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  FileHandle fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(ErrorCode::kExhausted, "socket");
  const timeval patience{timeout.count() / 1000, timeout.count() % 1000 * 1000};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const bool fits = path.native().size() < sizeof address.sun_path;
  if (fits) std::memcpy(address.sun_path, path.c_str(), path.native().size());
  if (!fits ||
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (fits && errno != ENOENT && errno != ECONNREFUSED)
      return fail_errno(ErrorCode::kUnavailable, path.native());
    return fail(ErrorCode::kNotFound,
                fmt::format("no launch runs in domain `{}`; name its --domain, or start one with "
                            "`fovea launch`",
                            domain.name()));
  }
  return fd;
}

tl::unexpected<Error> no_answer(const Domain& domain, std::string_view why) {
  return fail(ErrorCode::kUnavailable,
              fmt::format("the launch in domain `{}` {}", domain.name(), why));
}

// One entry, from a file or from stdin.
Result<std::string> read_entry(const std::string& file) {
  if (file != "-") return read_text_file(file, kMaxRequestBytes);
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() <= kMaxRequestBytes) {
    const ssize_t count = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(ErrorCode::kInvalidArgument, "stdin");
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("stdin has more than {} bytes", kMaxRequestBytes));
}

int complain(std::string_view command, std::string_view message, int code) {
  print_error("fovea {}: {}", command, one_line(without_secrets(message)));
  return code;
}

int ask(const Domain& domain, std::string_view command, const ControlRequest& request) {
  const auto reply = ask_launch(domain, request);
  if (!reply) return complain(command, reply.error().message, kExitRefused);
  if (!reply->error.empty()) return complain(command, reply->error, kExitRefused);
  for (const std::string& warning : reply->warnings) complain(command, warning, 0);
  const auto tell = [](std::string_view verb, const std::vector<std::string>& names) {
    if (!names.empty()) print_out("{} {}\n", verb, fmt::join(names, ", "));
  };
  tell("stopping", reply->stopped);
  tell("restarting", reply->restarted);
  tell("starting", reply->started);
  if (reply->stopped.empty() && reply->restarted.empty() && reply->started.empty())
    print_out("nothing to change\n");
  return 0;
}

}  // namespace

Result<ControlReply> ask_launch(const Domain& domain, const ControlRequest& request,
                                std::chrono::milliseconds timeout) {
  const std::string line = to_json(request) + "\n";
  if (line.size() > kMaxRequestBytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the request has {} bytes; a launch takes at most {}", line.size(),
                            kMaxRequestBytes));
  }
  FOVEA_ASSIGN(const FileHandle fd, connect_to(domain, timeout));
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t count = send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;  // it may have said why
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
  std::string reply;
  std::array<char, 4096> buffer;
  while (reply.find('\n') == std::string::npos && reply.size() <= kMaxReplyBytes) {
    const ssize_t count = recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return no_answer(domain, fmt::format("did not answer within {} s",
                                           std::chrono::duration<double>(timeout).count()));
    }
    if (count <= 0) return no_answer(domain, "ended before it answered");
    reply.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return parse_reply(std::string_view(reply).substr(0, reply.find('\n')));
}

int node_add(const Domain& domain, const std::string& file) {
  constexpr std::string_view kCommand = "node add";
  auto entry = read_entry(file);
  if (!entry) return complain(kCommand, entry.error().message, kExitUsage);
  ControlRequest request;
  request.operation = ControlRequest::Operation::kAddNode;
  request.entry = std::move(*entry);
  std::error_code ignored;
  const bool is_stdin = file == "-";
  request.source = is_stdin ? "stdin" : file;
  request.directory = is_stdin ? std::filesystem::current_path(ignored).string()
                               : std::filesystem::absolute(file, ignored).parent_path().string();
  return ask(domain, kCommand, request);
}

int node_remove(const Domain& domain, const std::vector<std::string>& nodes) {
  ControlRequest request;
  request.operation = ControlRequest::Operation::kRemoveNode;
  request.nodes = nodes;
  return ask(domain, "node remove", request);
}

int param_set(const Domain& domain, const std::string& node, const std::string& parameter,
              const std::string& value) {
  ControlRequest request;
  request.operation = ControlRequest::Operation::kSetParameter;
  request.node = node;
  request.parameter = parameter;
  request.value = value;
  return ask(domain, "param set", request);
}

}  // namespace fovea::launch
