// See metadata.hpp.
#include "nodes/detector/engine/onnx/metadata.hpp"

#include <cctype>
#include <charconv>
#include <map>
#include <optional>

namespace fovea::engine {

namespace {

constexpr std::size_t kMaxClasses = 65536;

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | (code >> 6));
    byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | (code >> 12));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | (code >> 18));
    byte(0x80 | ((code >> 12) & 0x3F));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
}

// Reads one token at a time; every reader returns false or nullopt at the first surprise.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  bool take(char expected) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != expected) return false;
    ++at_;
    return true;
  }
  bool at_end() {
    skip_space();
    return at_ == text_.size();
  }
  std::optional<std::int64_t> integer() {
    skip_space();
    std::int64_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) return std::nullopt;
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }
  // A Python string literal in single or double quotes.
  std::optional<std::string> quoted() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return std::nullopt;
    const char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == quote) return out;
      if (c != '\\') {
        out.push_back(c);
      } else if (!escape(out)) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

 private:
  bool escape(std::string& out) {
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    switch (c) {
      case 'n':
        out.push_back('\n');
        return true;
      case 't':
        out.push_back('\t');
        return true;
      case 'r':
        out.push_back('\r');
        return true;
      case 'x':
        return code_point(out, 2);
      case 'u':
        return code_point(out, 4);
      case 'U':
        return code_point(out, 8);
      case '\\':
      case '\'':
      case '"':
        out.push_back(c);
        return true;
      default:  // Python keeps the backslash of an escape it does not know
        out.push_back('\\');
        out.push_back(c);
        return true;
    }
  }
  bool code_point(std::string& out, std::size_t digits) {
    if (text_.size() - at_ < digits) return false;
    std::uint32_t code = 0;
    const char* end = text_.data() + at_ + digits;
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, code, 16);
    if (error != std::errc() || stop != end || code > 0x10FFFF) return false;
    at_ += digits;
    append_utf8(out, code);
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<std::string> parse_class_names(std::string_view text) {
  Reader reader(text);
  std::map<std::int64_t, std::string> by_index;
  const bool dictionary = reader.take('{');
  if (!dictionary && !reader.take('[')) return {};
  const char close = dictionary ? '}' : ']';
  while (!reader.take(close)) {
    std::int64_t index = static_cast<std::int64_t>(by_index.size());
    if (dictionary) {
      const auto key = reader.integer();
      if (!key || !reader.take(':')) return {};
      index = *key;
    }
    auto name = reader.quoted();
    if (!name || by_index.size() >= kMaxClasses) return {};
    if (!by_index.emplace(index, std::move(*name)).second) return {};
    if (!reader.take(',')) {
      if (!reader.take(close)) return {};
      break;
    }
  }
  if (!reader.at_end()) return {};
  std::vector<std::string> names;
  for (auto& [index, name] : by_index) {
    if (index != static_cast<std::int64_t>(names.size())) return {};
    names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::int64_t> parse_int_list(std::string_view text) {
  Reader reader(text);
  if (const auto single = reader.integer()) {
    return reader.at_end() ? std::vector<std::int64_t>{*single} : std::vector<std::int64_t>{};
  }
  char close = ']';
  if (!reader.take('[')) {
    if (!reader.take('(')) return {};
    close = ')';
  }
  std::vector<std::int64_t> values;
  while (!reader.take(close)) {
    const auto value = reader.integer();
    if (!value) return {};
    values.push_back(*value);
    if (!reader.take(',')) {
      if (!reader.take(close)) return {};
      break;
    }
  }
  return reader.at_end() ? values : std::vector<std::int64_t>{};
}

}  // namespace fovea::engine
