#include "nodes/base/text.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>

#include <fmt/core.h>

namespace fovea {
namespace {

struct Character {
  std::size_t bytes = 1;
  char32_t code = 0;
  bool valid = false;
};

// The first character of a text that is not empty. Overlong forms, surrogates and codes beyond
// Unicode are not valid.
Character first_character(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {1, lead, true};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  char32_t code = lead & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return {};
    code = (code << 6) | (at(i) & 0x3fu);
  }
  constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  if (code < kLeast[bytes] || surrogate || code > 0x10ffff) return {};
  return {bytes, code, true};
}

// Moves the cursor, forges lines or turns the direction of what follows.
bool drives_terminal(char32_t code) {
  const bool control = (code < 0x20 && code != '\t') || (code >= 0x7f && code < 0xa0);
  const bool line_end = code == 0x2028 || code == 0x2029;
  const bool direction = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
                         code == 0x200e || code == 0x200f || code == 0x61c;
  return control || line_end || direction;
}

void append_shown(std::string& line, std::string_view bytes, const Character& character) {
  if (character.valid && !drives_terminal(character.code)) {
    line += bytes;
    return;
  }
  for (const char c : bytes) line += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

bool is_secret_key(std::string_view key) {
  constexpr std::array<std::string_view, 9> kSecret{
      "password", "passwd", "pass", "pwd", "token", "secret", "key", "apikey", "api_key"};
  return std::any_of(kSecret.begin(), kSecret.end(),
                     [&](std::string_view s) { return same_ignoring_case(key, s); });
}

// Values of secret keys in `?a=b&password=c`.
std::string without_secret_values(std::string_view query) {
  std::string out;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view part = query.substr(0, end);
    const std::size_t equals = part.find('=');
    const bool secret = equals != std::string_view::npos && is_secret_key(part.substr(0, equals));
    out += secret ? std::string(part.substr(0, equals)) + "=***" : std::string(part);
    if (end < query.size()) out += '&';
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return out;
}

// What stands behind `scheme://`, up to where the address ends.
std::string without_secrets_of_address(std::string_view address) {
  const std::size_t path = std::min(address.find_first_of("/?#"), address.size());
  // A password may hold an unescaped `/` or `?`: the last @ of the address ends it, if a : stands
  // before that @.
  std::size_t at = address.substr(0, path).rfind('@');
  if (at == std::string_view::npos) {
    const std::size_t last = address.rfind('@');
    const std::size_t colon = address.find(':');
    if (last != std::string_view::npos && colon < std::min(path, last)) at = last;
  }
  std::string out;
  if (at != std::string_view::npos) {
    out = "***@";
    address.remove_prefix(at + 1);
  }
  const std::size_t query = std::min(address.find('?'), address.size());
  out += address.substr(0, query);
  if (query < address.size()) out += "?" + without_secret_values(address.substr(query + 1));
  return out;
}

}  // namespace

std::string one_line(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_character(text);
    append_shown(line, text.substr(0, character.bytes), character);
    text.remove_prefix(character.bytes);
  }
  return line;
}

std::string shown(std::string_view text, std::size_t limit) {
  const std::string_view beginning = utf8_prefix(text, limit);
  std::string line = one_line(beginning);
  if (beginning.size() < text.size()) line += fmt::format("... ({} bytes)", text.size());
  return line;
}

std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  std::size_t end = 0;
  while (end < text.size()) {
    const std::size_t next = end + first_character(text.substr(end)).bytes;
    if (next > max_bytes) break;
    end = next;
  }
  return text.substr(0, end);
}

std::string without_secrets(std::string_view text) {
  constexpr std::string_view kEnds = " \t\n\r\"'`<>|,;";
  std::string out;
  for (;;) {
    const std::size_t scheme = text.find("://");
    if (scheme == std::string_view::npos) return out.append(text);
    out += text.substr(0, scheme + 3);
    text.remove_prefix(scheme + 3);
    std::size_t end = std::min(text.find_first_of(kEnds), text.size());
    // These three may stand in a password, too: then an @ follows before anything that may not.
    constexpr std::string_view kNeverInside = " \t\n\r\"`<>|";
    const std::size_t limit =
        std::min({text.find_first_of(kNeverInside), text.find("://"), text.size()});
    if (const std::size_t at = text.substr(0, limit).rfind('@');
        at != std::string_view::npos && at > end) {
      end = std::min(text.find_first_of(kEnds, at), text.size());
    }
    out += without_secrets_of_address(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::string said(std::string_view text, std::size_t limit) {
  // Masked before it is cut: half an address would no longer be known as one.
  return shown(without_secrets(text), limit);
}

}  // namespace fovea
