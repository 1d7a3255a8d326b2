#include "nodes/runtime/domain.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/base/text.hpp"
#include "nodes/base/trusted_folder.hpp"

namespace fovea {
namespace {

constexpr std::size_t kMaxName = 31;
constexpr std::size_t kMaxTopic = 63;
constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr std::string_view kTopicExtension = ".topic";
constexpr std::string_view kControlExtension = ".control";
constexpr std::string_view kDoorbellExtension = ".doorbell";
constexpr std::string_view kLaunchExtension = ".socket";  // of a launcher
constexpr std::string_view kMetricsSuffix = "metrics";
constexpr std::int64_t kLockPatienceNs = 5'000'000'000;

std::string from_environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

std::string file_name(std::string_view topic) {
  std::string name(topic);
  std::replace(name.begin(), name.end(), '/', ':');
  return name;
}

std::string topic_name(std::string_view file) {
  std::string name(file);
  std::replace(name.begin(), name.end(), ':', '/');
  return name;
}

// The directory that holds the domains of this user.
Result<std::filesystem::path> socket_root() {
  const std::string runtime = from_environment("XDG_RUNTIME_DIR");
  if (runtime.empty()) return std::filesystem::path(fmt::format("/tmp/fovea-{}", geteuid()));
  std::error_code ignored;
  if (runtime.front() != '/' || !std::filesystem::is_directory(runtime, ignored)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("XDG_RUNTIME_DIR is {}; it must be an existing directory, or unset", runtime));
  }
  return std::filesystem::path(runtime) / "fovea";
}

bool is_own_socket(const std::filesystem::path& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode) &&
         status.st_uid == geteuid();
}

}  // namespace

Result<> check_name(std::string_view what, std::string_view name) {
  const bool good =
      !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
      });
  if (good) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is '{}'; it must be 1..{} characters of a-z, 0-9, _ and -", what,
                          said(name), kMaxName));
}

Result<> check_topic(std::string_view topic) {
  if (topic.empty() || topic.size() > kMaxTopic) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("topic '{}' has {} characters; it must have 1..{}", said(topic),
                            topic.size(), kMaxTopic));
  }
  for (std::size_t begin = 0; begin <= topic.size();) {
    const std::size_t end = std::min(topic.find('/', begin), topic.size());
    if (auto part = check_name("a part", topic.substr(begin, end - begin)); !part) {
      return fail(part.error().with_context(fmt::format("topic '{}'", said(topic))));
    }
    begin = end + 1;
  }
  return {};
}

Result<bool> someone_listens(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() > kMaxSocketPath) return false;
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  FileHandle probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail_errno(ErrorCode::kExhausted, "socket to probe " + path.native());
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return true;
  return errno != ECONNREFUSED && errno != ENOENT && errno != ENOTDIR;
}

Result<Domain> Domain::open(std::string_view name) {
  Domain domain;
  domain.name_ = name.empty() ? from_environment("FOVEA_DOMAIN") : std::string(name);
  if (domain.name_.empty()) domain.name_ = "default";
  FOVEA_TRY(check_name("domain", domain.name_));

  FOVEA_ASSIGN(const std::filesystem::path root, socket_root());
  domain.socket_directory_ = root / domain.name_;
  FOVEA_TRY(make_private_folder(root));
  FOVEA_TRY(make_private_folder(domain.socket_directory_));

  const std::string shm = from_environment("FOVEA_SHM_DIR");
  domain.shm_directory_ = shm.empty() ? "/dev/shm" : shm;
  std::error_code ignored;
  if (!std::filesystem::is_directory(domain.shm_directory_, ignored)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("FOVEA_SHM_DIR is {}; it must be a directory", domain.shm_directory_.native()));
  }
  return domain;
}

std::filesystem::path Domain::socket_path(std::string_view name, std::string_view extension) const {
  return socket_directory_ / (file_name(name) + std::string(extension));
}

Result<std::string> Domain::endpoint(std::string_view name, std::string_view extension) const {
  const std::filesystem::path path = socket_path(name, extension);
  if (path.native().size() > kMaxSocketPath) {
    const std::size_t excess = path.native().size() - kMaxSocketPath;
    const std::size_t prefix = socket_directory_.parent_path().native().size();
    const std::string_view longest = prefix > name_.size() + name.size() ? "XDG_RUNTIME_DIR"
                                     : name_.size() > name.size()        ? "the domain's name"
                                                                  : "the topic's or node's name";
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("socket path {} is {} bytes; it must be at most {}: shorten {} by {}",
                            path.native(), path.native().size(), kMaxSocketPath, longest, excess));
  }
  return "ipc://" + path.native();
}

Result<std::string> Domain::topic_endpoint(std::string_view topic) const {
  FOVEA_TRY(check_topic(topic));
  return endpoint(topic, kTopicExtension);
}

Result<std::string> Domain::control_endpoint(std::string_view node) const {
  FOVEA_TRY(check_name("node", node));
  return endpoint(node, kControlExtension);
}

std::filesystem::path Domain::pool_path(std::string_view topic, std::uint64_t incarnation) const {
  return shm_directory_ / fmt::format("fovea.{}.{}.{:016x}", name_, file_name(topic), incarnation);
}

std::filesystem::path Domain::metrics_path(std::string_view node) const {
  return shm_directory_ / fmt::format("fovea.{}.{}.{}", name_, node, kMetricsSuffix);
}

std::filesystem::path Domain::doorbell_path(std::uint64_t id) const {
  return socket_path(fmt::format("{:016x}", id), kDoorbellExtension);
}

std::vector<Domain::ShmEntry> Domain::list_shm() const {
  std::vector<ShmEntry> entries;
  const std::string prefix = "fovea." + name_ + ".";
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(shm_directory_, error)) {
    const std::string name = file.path().filename();
    if (!name.starts_with(prefix)) continue;
    const std::size_t dot = name.find('.', prefix.size());
    if (dot == std::string::npos) continue;
    entries.push_back({file.path(), topic_name(name.substr(prefix.size(), dot - prefix.size())),
                       name.substr(dot + 1)});
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return entries;
}

std::vector<std::string> Domain::list_sockets(std::string_view extension) const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(socket_directory_, error)) {
    if (file.path().extension() == extension)
      names.push_back(topic_name(file.path().stem().native()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> Domain::list_topics() const { return list_sockets(kTopicExtension); }

std::vector<std::string> Domain::list_nodes() const {
  std::vector<std::string> names = list_sockets(kControlExtension);
  for (const ShmEntry& entry : list_shm()) {
    if (entry.suffix == kMetricsSuffix) names.push_back(entry.name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::vector<std::filesystem::path> Domain::list_pools(std::string_view topic) const {
  std::vector<std::filesystem::path> pools;
  for (const ShmEntry& entry : list_shm()) {
    if (entry.name == topic && entry.suffix != kMetricsSuffix) pools.push_back(entry.path);
  }
  return pools;
}

bool Domain::topic_alive(std::string_view topic) const {
  return someone_listens(socket_path(topic, kTopicExtension)).value_or(true);
}

bool Domain::control_alive(std::string_view node) const {
  return someone_listens(socket_path(node, kControlExtension)).value_or(true);
}

Result<FileHandle> Domain::lock() const {
  FileHandle directory(::open(socket_directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail_errno(ErrorCode::kInternal, "open " + socket_directory_.native());
  const std::int64_t deadline = monotonic_ns() + kLockPatienceNs;
  while (flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return fail_errno(ErrorCode::kInternal, "lock " + socket_directory_.native());
    }
    if (monotonic_ns() > deadline) {
      return fail(ErrorCode::kUnavailable,
                  fmt::format("{} is locked by another process that does not go on",
                              socket_directory_.native()));
    }
    usleep(500);
  }
  return directory;
}

std::vector<std::filesystem::path> Domain::sweep() const {
  std::vector<std::filesystem::path> removed;
  const auto locked = lock();
  if (!locked) return removed;
  for (std::string_view extension :
       {kTopicExtension, kControlExtension, kDoorbellExtension, kLaunchExtension}) {
    for (const std::string& name : list_sockets(extension)) {
      const std::filesystem::path path = socket_path(name, extension);
      if (is_own_socket(path) && !someone_listens(path).value_or(true) && unlink(path.c_str()) == 0)
        removed.push_back(path);
    }
  }
  for (const ShmEntry& entry : list_shm()) {
    const auto file = open_own_file(entry.path);
    if (file && try_lock_byte(file->get(), 0) && unlink(entry.path.c_str()) == 0)
      removed.push_back(entry.path);
  }
  return removed;
}

}  // namespace fovea
