#include "nodes/runtime/process/parameter_stream.hpp"

#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nodes/base/file_io.hpp"

namespace fovea {
namespace {

// Not a number that a child's standard descriptors take.
constexpr int kLeastDescriptor = 16;

Result<> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(ErrorCode::kExhausted, "parameters: write");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<FileHandle> write_assignments(const std::vector<ParameterAssignment>& assignments) {
  const FileHandle low(memfd_create("fovea-parameters", MFD_CLOEXEC));
  if (!low) return fail_errno(ErrorCode::kExhausted, "parameters: memfd");
  FileHandle file(fcntl(low.get(), F_DUPFD_CLOEXEC, kLeastDescriptor));
  if (!file) return fail_errno(ErrorCode::kExhausted, "parameters: descriptor");
  std::string text;
  for (const ParameterAssignment& assignment : assignments) {
    for (const std::string* part : {&assignment.where, &assignment.name, &assignment.value}) {
      text += *part;
      text += '\0';
    }
  }
  FOVEA_TRY(write_all(file.get(), text));
  return file;
}

Result<std::vector<ParameterAssignment>> read_assignments(int fd) {
  // By its name, so that wherever the shared offset stands the whole is read.
  const auto text = read_text_file(fmt::format("/proc/self/fd/{}", fd));
  if (!text) return fail(text.error().with_context("--params-fd"));
  std::vector<std::string> parts;
  for (std::string_view rest = *text; !rest.empty();) {
    const std::size_t end = rest.find('\0');
    if (end == std::string_view::npos) break;
    parts.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  if (parts.size() % 3 != 0 || (!text->empty() && text->back() != '\0')) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--params-fd is {}; it must be a file made by fovea launch", fd));
  }
  std::vector<ParameterAssignment> assignments;
  for (std::size_t i = 0; i + 2 < parts.size(); i += 3)
    assignments.push_back({parts[i], parts[i + 1], parts[i + 2]});
  return assignments;
}

}  // namespace fovea
