// Text from outside (files, models, cameras, peers, other users) made fit for a terminal, a log
// line and a message. Whatever is shown goes through one of these functions once, where it is
// printed or where it enters an error message.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fovea {

// As one line that drives no terminal: control characters (C0, DEL, C1, and those that turn the
// direction of writing) and bytes that are no UTF-8 become \xNN; a tab stays.
std::string one_line(std::string_view text);

// one_line() of at most about `limit` bytes; a longer one ends with how long the whole is: `abc...
// (5120 bytes)`.
std::string shown(std::string_view text, std::size_t limit = 200);

// The longest prefix of at most `max_bytes` that ends at a character's end. Bytes that are no UTF-8
// count as characters.
std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes);

// `rtsp://user:password@host/x` as `rtsp://***@host/x`, wherever in the text such an address
// stands, and the values of query keys that carry secrets (password, token, ...) as `***`.
std::string without_secrets(std::string_view text);

// What a message quotes of what somebody wrote: shown(), without secrets.
std::string said(std::string_view text, std::size_t limit = 200);

}  // namespace fovea
