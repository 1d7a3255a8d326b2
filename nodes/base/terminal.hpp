// What programs print to stdout and stderr. A stream that is closed, full or read by nobody costs
// the line and nothing else: no exception, no signal, no wait without end. Nodes log through
// runtime/log.hpp, which ends here too.
//
// Thread safety: any thread; lines of several threads do not mix.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "nodes/base/result.hpp"

namespace fovea {

// Called first in every main(): opens /dev/null in place of a closed stdin, stdout or stderr (or
// the next file would be printed into), ignores SIGPIPE and SIGXFSZ, raises the soft limit of
// descriptors to the hard one.
void prepare_process();

// The words of a command line. In argv itself, which every user of the machine can read in
// /proc/PID/cmdline, the secrets of addresses are overwritten.
std::vector<std::string> take_arguments(int argc, char** argv);

// A tool's product, to stdout, as fast as its reader takes it. Errors: what stdout said, so that a
// tool whose product did not arrive can end with code 1.
Result<> write_stdout(std::string_view text);
template <class... Args>
Result<> print_out(fmt::format_string<Args...> format, Args&&... args) {
  return write_stdout(fmt::format(format, std::forward<Args>(args)...));
}

// False once stdout has refused something: whoever prints without end stops.
bool stdout_takes();
// What main() of a tool returns: `code`, or 1 instead of 0, with a word on stderr, if stdout did not
// take all that was printed. A reader that left on purpose (`| head`) costs no word.
int exit_code_of_tool(std::string_view tool, int code);

// A word to people, to stderr (or another descriptor), a line feed added. A reader that takes
// nothing for 100 ms costs this line and, until it takes some again, the following ones: they are
// counted.
void print_line(int fd, std::string_view line);
// The same without the line feed, for progress that is drawn over itself.
void print_text(int fd, std::string_view text);
template <class... Args>
void print_error(fmt::format_string<Args...> format, Args&&... args) {
  print_line(2, fmt::format(format, std::forward<Args>(args)...));
}
std::uint64_t dropped_lines();

}  // namespace fovea
