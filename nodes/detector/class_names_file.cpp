#include "nodes/detector/class_names_file.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"

namespace fovea {

namespace {

constexpr std::string_view kSpace = " \t\r";
constexpr std::size_t kMaxClasses = 65536;

tl::unexpected<Error> refused(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

struct Line {
  std::size_t number;
  std::size_t indent;
  std::string_view text;  // trimmed, not empty
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view content = trimmed(line);
    if (!content.empty()) {
      lines.push_back({number, static_cast<std::size_t>(content.data() - line.data()), content});
    }
  }
  return lines;
}

// A YAML scalar: without its quotes, or without a comment.
std::string scalar(std::string_view text) {
  if (text.size() > 1 && (text.front() == '"' || text.front() == '\'')) {
    const auto quoted = engine::read_class_names(fmt::format("[{}]", text));
    if (quoted.names.size() == 1) return quoted.names[0];
  }
  return std::string(trimmed(text.substr(0, text.find(" #"))));
}

bool is_item(std::string_view line) { return line == "-" || line.starts_with("- "); }

// `7: name`; nullopt for anything else.
std::optional<std::pair<std::size_t, std::string_view>> entry_of(std::string_view line) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (error != std::errc() || number >= kMaxClasses) return std::nullopt;
  const std::string_view rest = line.substr(static_cast<std::size_t>(end - line.data()));
  if (rest != ":" && !rest.starts_with(": ")) return std::nullopt;
  return std::pair(number, trimmed(rest.substr(1)));
}

Result<std::vector<std::string>> from_map(const std::vector<Line>& lines) {
  std::map<std::size_t, std::string> by_number;
  for (const Line& line : lines) {
    if (line.text.front() == '#') continue;
    const auto entry = entry_of(line.text);
    if (!entry) {
      return refused(fmt::format("line {}: '{}' is no number with a name, like 0: person",
                                 line.number, shown(line.text, 60)));
    }
    if (!by_number.emplace(entry->first, scalar(entry->second)).second) {
      return refused(fmt::format("line {}: class {} is named twice", line.number, entry->first));
    }
  }
  std::vector<std::string> names;
  for (auto& [number, name] : by_number) {
    if (number != names.size()) return refused(fmt::format("class {} has no name", names.size()));
    names.push_back(std::move(name));
  }
  return names;
}

Result<std::vector<std::string>> from_list(const std::vector<Line>& lines) {
  std::vector<std::string> names;
  for (const Line& line : lines) {
    if (line.text.front() == '#') continue;
    if (!is_item(line.text)) {
      return refused(fmt::format("line {}: '{}' is no item, like - person", line.number,
                                 shown(line.text, 60)));
    }
    names.push_back(scalar(trimmed(line.text.substr(1))));
  }
  return names;
}

// A list or map in brackets.
Result<std::vector<std::string>> from_literal(std::string_view text) {
  engine::ClassNames read = engine::read_class_names(text);
  if (read.names.empty()) return refused("the list or map in brackets cannot be read");
  if (!read.problem.empty()) return refused("numbers are left out of the map");
  return std::move(read.names);
}

Result<std::vector<std::string>> from_lines(std::vector<Line> lines) {
  const auto is_comment = [](const Line& line) { return line.text.front() == '#'; };
  const auto first = std::find_if_not(lines.begin(), lines.end(), is_comment);
  if (first != lines.end() && is_item(first->text)) return from_list(lines);
  if (first != lines.end() && entry_of(first->text)) return from_map(lines);
  std::vector<std::string> names;
  for (const Line& line : lines) names.emplace_back(line.text);
  return names;
}

Result<std::vector<std::string>> read(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const std::vector<Line> lines = lines_of(text);
  if (lines.empty()) return refused("it names no class");
  const auto names = std::find_if(lines.begin(), lines.end(), [](const Line& line) {
    return line.indent == 0 && (line.text == "names:" || line.text.starts_with("names: "));
  });
  const char first = lines.front().text.front();
  if (names == lines.end()) {
    if (first == '{' || first == '[') return from_literal(trimmed(text));
    return from_lines(lines);
  }
  const std::string_view behind = trimmed(names->text.substr(sizeof("names:") - 1));
  if (!behind.empty() && behind.front() != '#') {  // perhaps over several lines
    const std::size_t at = static_cast<std::size_t>(behind.data() - text.data());
    const char close = behind.front() == '{' ? '}' : ']';
    const std::size_t end = text.find(close, at);
    if (behind.front() != '{' && behind.front() != '[') {
      return refused(fmt::format("line {}: behind names: stands '{}'; it must be a list or a map",
                                 names->number, shown(behind, 60)));
    }
    return from_literal(text.substr(at, end == std::string_view::npos ? end : end - at + 1));
  }
  std::vector<Line> below;
  for (auto line = names + 1; line != lines.end(); ++line) {
    if (line->indent == 0 && !is_item(line->text)) break;
    below.push_back(*line);
  }
  if (below.empty())
    return refused(fmt::format("line {}: nothing stands below names:", names->number));
  return from_lines(std::move(below));
}

}  // namespace

Result<std::vector<std::string>> class_names_of_text(std::string_view text) {
  FOVEA_ASSIGN(std::vector<std::string> names, read(text));
  if (names.empty()) return refused("it names no class");
  if (names.size() > kMaxClasses) {
    return refused(
        fmt::format("it names {} classes; at most {} can be", names.size(), kMaxClasses));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) return refused(fmt::format("the name of class {} is empty", i));
  }
  return names;
}

Result<std::vector<std::string>> read_class_names_file(const std::filesystem::path& file) {
  FOVEA_ASSIGN(const std::vector<std::byte> bytes, read_file(file.string()));
  auto names = class_names_of_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!names) return fail(names.error().with_context(file.string()));
  return names;
}

std::string metadata_of(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names) {
    text += text.size() > 1 ? ", \"" : "\"";
    for (const char c : name) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "]";
}

}  // namespace fovea
