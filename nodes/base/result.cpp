#include "nodes/base/result.hpp"

#include <cerrno>
#include <cstring>

namespace fovea {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kExhausted: return "exhausted";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

Error Error::with_context(std::string_view context) const {
  return {code, std::string(context) + ": " + message};
}

tl::unexpected<Error> fail_errno(ErrorCode code, std::string_view what) {
  const int saved = errno;
  return fail(code, std::string(what) + ": " + std::strerror(saved));
}

}  // namespace fovea
