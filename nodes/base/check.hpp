// FOVEA_CHECK(condition): what must hold for the program to make sense, in every build. Not for what
// a user, a file or a peer can cause: that is an Error.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace fovea::detail {

[[noreturn]] inline void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: FOVEA_CHECK(%s) does not hold\n", file, line, condition);
  std::abort();
}

}  // namespace fovea::detail

#define FOVEA_CHECK(condition)     \
  static_cast<void>((condition) || \
                    (fovea::detail::check_failed(__FILE__, __LINE__, #condition), false))
