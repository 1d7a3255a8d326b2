// What every fallible function returns. Part of fovea::base, the layer that everything may include.
//
// Result<T> carries a value or an Error; a precondition that only a bug can break is an assertion instead.
// Thread safety: plain values.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace fovea {

// Why something failed, for code that reacts differently by cause. The message is for people.
enum class ErrorCode {
  kInvalidArgument,  // the caller, a file or a peer gave a value that is not allowed
  kNotFound,         // a file, device, topic or model is absent
  kUnavailable,      // may work later: peer not up yet, source stalled, resource busy
  kExhausted,        // memory, slots, descriptors or disk ran out
  kCorrupt,          // data that fails its own checks: checksum, magic, truncated
  kUnsupported,      // valid, but not something this build or machine can do
  kInternal,         // everything else, including a failed system call
};

std::string_view to_string(ErrorCode code);

// REQUIRES: `message` names the thing, the offending value and what would be valid, in one line, without a
// trailing full stop: `config/detector.yaml:14: max_batch is 0; it must be 1..64`.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;

  // The same error seen from one level up: `context: message`.
  Error with_context(std::string_view context) const;
};

template <class T = void>
using Result = tl::expected<T, Error>;

// return fail(ErrorCode::kNotFound, "camera.yaml: no such file");
inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// fail() with strerror(errno) appended: `open /dev/shm/x: Permission denied`.
tl::unexpected<Error> fail_errno(ErrorCode code, std::string_view what);

}  // namespace fovea

// FOVEA_TRY(expr): returns expr's error from the enclosing function. FOVEA_ASSIGN(var, expr): declares var
// from expr's value or returns its error.
#define FOVEA_CONCAT_INNER(a, b) a##b
#define FOVEA_CONCAT(a, b) FOVEA_CONCAT_INNER(a, b)
#define FOVEA_TRY(expr)                                     \
  do {                                                      \
    if (auto fovea_try_result = (expr); !fovea_try_result)  \
      return ::fovea::fail(std::move(fovea_try_result).error()); \
  } while (false)
#define FOVEA_ASSIGN(declaration, expr) \
  FOVEA_ASSIGN_IMPL(FOVEA_CONCAT(fovea_assign_, __LINE__), declaration, expr)
#define FOVEA_ASSIGN_IMPL(temporary, declaration, expr)                   \
  auto temporary = (expr);                                                \
  if (!temporary) return ::fovea::fail(std::move(temporary).error());     \
  declaration = std::move(temporary).value()
