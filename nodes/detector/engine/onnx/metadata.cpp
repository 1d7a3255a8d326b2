#include "nodes/detector/engine/onnx/metadata.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"

namespace fovea::engine {

namespace {

constexpr std::int64_t kMaxClasses = 65536;

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
  // A string literal in single or double quotes; Python 2 put a `u` in front.
  std::optional<std::string> quoted() {
    skip_space();
    std::size_t at = at_;
    if (at + 1 < text_.size() && text_[at] == 'u') ++at;
    if (at >= text_.size() || (text_[at] != '\'' && text_[at] != '"')) return std::nullopt;
    const char quote = text_[at];
    at_ = at + 1;
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
  // A number or a word without quotes, up to what ends an element.
  std::optional<std::string> bare() {
    skip_space();
    std::size_t end = std::min(text_.find_first_of(",:{}[]()'\"\\\n", at_), text_.size());
    const std::size_t next = end;
    while (end > at_ && std::isspace(static_cast<unsigned char>(text_[end - 1])) != 0) --end;
    if (end == at_) return std::nullopt;
    std::string word(text_.substr(at_, end - at_));
    at_ = next;
    return word;
  }
  std::size_t position() const { return at_; }

 private:
  bool escape(std::string& out) {
    if (at_ >= text_.size()) return false;
    constexpr std::string_view kLetters = "ntrabfv0";
    constexpr std::string_view kBytes("\n\t\r\a\b\f\v\0", kLetters.size());
    const char c = text_[at_++];
    if (const std::size_t letter = kLetters.find(c); letter != std::string_view::npos) {
      out.push_back(kBytes[letter]);
      return true;
    }
    switch (c) {
      case 'x':
        return code_point(out, 2);
      case 'u':
        return code_point(out, 4);
      case 'U':
        return code_point(out, 8);
      case '\\':
      case '\'':
      case '"':
      case '/':  // JSON
        out.push_back(c);
        return true;
      default:  // Python keeps the backslash of an escape it does not know
        out.push_back('\\');
        out.push_back(c);
        return true;
    }
  }
  std::optional<std::uint32_t> hexadecimal(std::size_t digits) {
    if (text_.size() - at_ < digits) return std::nullopt;
    std::uint32_t code = 0;
    const char* end = text_.data() + at_ + digits;
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, code, 16);
    if (error != std::errc() || stop != end || code > 0x10FFFF) return std::nullopt;
    at_ += digits;
    return code;
  }
  bool code_point(std::string& out, std::size_t digits) {
    constexpr std::uint32_t kReplacement = 0xFFFD;
    auto code = hexadecimal(digits);
    if (!code) return false;
    if (*code >= 0xD800 && *code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      const std::size_t before = at_;  // JSON writes what is beyond 16 bits as a pair
      at_ += 2;
      const auto low = hexadecimal(4);
      if (low && *low >= 0xDC00 && *low < 0xE000) {
        code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
      } else {
        at_ = before;
      }
    }
    append_utf8(out, *code >= 0xD800 && *code < 0xE000 ? kReplacement : *code);
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::optional<std::int64_t> as_index(const std::string& text) {
  Reader reader(text);
  const auto value = reader.integer();
  return value && reader.at_end() ? value : std::nullopt;
}

// An element: its text and whether that was in quotes.
struct Element {
  std::string text;
  bool in_quotes = false;
};
std::optional<Element> read_element(Reader& reader) {
  if (auto text = reader.quoted()) return Element{std::move(*text), true};
  if (auto text = reader.bare()) return Element{std::move(*text), false};
  return std::nullopt;
}

// `number: name`, or `name: number` if the first is no number.
std::optional<std::pair<std::int64_t, std::string>> read_entry(Reader& reader) {
  auto key = read_element(reader);
  if (!key || !reader.take(':')) return std::nullopt;
  auto value = read_element(reader);
  if (!value) return std::nullopt;
  if (const auto index = as_index(key->text)) return std::pair(*index, std::move(value->text));
  const auto index = as_index(value->text);
  if (!index || value->in_quotes) return std::nullopt;
  return std::pair(*index, std::move(key->text));
}

// By number; nullopt at the first surprise.
std::optional<std::map<std::int64_t, std::string>> read_names(Reader& reader) {
  std::map<std::int64_t, std::string> by_index;
  constexpr std::string_view kOpen = "{[(";
  constexpr std::string_view kClose = "}])";
  std::size_t kind = 0;
  while (kind < kOpen.size() && !reader.take(kOpen[kind])) ++kind;
  if (kind == kOpen.size()) return std::nullopt;
  const bool dictionary = kind == 0;
  while (!reader.take(kClose[kind])) {
    std::pair<std::int64_t, std::string> entry;
    if (dictionary) {
      auto read = read_entry(reader);
      if (!read) return std::nullopt;
      entry = std::move(*read);
    } else {
      auto element = read_element(reader);
      if (!element) return std::nullopt;
      entry = {static_cast<std::int64_t>(by_index.size()), std::move(element->text)};
    }
    if (entry.first < 0 || entry.first >= kMaxClasses) return std::nullopt;
    if (!by_index.insert(std::move(entry)).second) return std::nullopt;
    if (!reader.take(',')) {
      if (!reader.take(kClose[kind])) return std::nullopt;
      break;
    }
  }
  if (!reader.at_end()) return std::nullopt;
  return by_index;
}

}  // namespace

ClassNames read_class_names(std::string_view text) {
  Reader reader(text);
  const auto by_index = read_names(reader);
  ClassNames result;
  if (!by_index || by_index->empty()) {
    result.problem = fmt::format(
        "the class names in the metadata cannot be read (at character {} of {}); they must be a "
        "dictionary or list such as {{0: 'person', 1: 'car'}}; classes are called class_0 and so "
        "on",
        reader.position() + 1, shown(text, 80));
    return result;
  }
  std::size_t missing = 0;
  for (const auto& [index, name] : *by_index) {
    while (static_cast<std::int64_t>(result.names.size()) < index) {
      result.names.push_back(fmt::format("class_{}", result.names.size()));
      ++missing;
    }
    result.names.push_back(name);
  }
  if (missing > 0) {
    result.problem = fmt::format(
        "the class names in the metadata leave out {} of the numbers 0 to {}; those are called "
        "class_<number>",
        missing, result.names.size() - 1);
  }
  return result;
}

std::vector<std::string> parse_class_names(std::string_view text) {
  return read_class_names(text).names;
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
