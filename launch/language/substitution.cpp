#include "launch/language/substitution.hpp"

#include <cstdlib>
#include <vector>

#include <fmt/core.h>

#include "launch/language/suggest.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

constexpr std::size_t kMaxQuoted = 60;
// Nested substitutions: each costs a frame of the stack.
constexpr int kMaxDepth = 32;

// Position just behind the parenthesis that closes the one before `begin`, or npos.
std::size_t end_of_substitution(std::string_view text, std::size_t begin) {
  int depth = 1;
  for (std::size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')' && --depth == 0) return i + 1;
  }
  return std::string_view::npos;
}

// Splits at blanks outside parentheses, so that a nested substitution stays one word.
std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const bool ends = i == text.size() || (depth == 0 && (text[i] == ' ' || text[i] == '\t'));
    if (ends) {
      if (i > begin) words.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    } else if (text[i] == '(') {
      ++depth;
    } else if (text[i] == ')') {
      --depth;
    }
  }
  return words;
}

tl::unexpected<Error> too_long() {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("the value is longer than {} KiB", kMaxValueBytes / 1024));
}

Result<std::string> expand_at(std::string_view text, const SubstitutionContext& context, int depth);

Result<std::string> expand_one(std::string_view inner, const SubstitutionContext& context,
                               int depth) {
  const std::vector<std::string_view> words = split_words(inner);
  if (words.empty()) return fail(ErrorCode::kInvalidArgument, "empty substitution $()");
  const std::string_view kind = words[0];
  const auto wrong_count = [&](std::string_view usage) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("$({}) must be written as {}", said(inner, kMaxQuoted), usage));
  };

  if (kind == "dirname" || kind == "share") {
    if (words.size() != 1) return wrong_count(fmt::format("$({})", kind));
    return kind == "dirname" ? context.dirname : context.share;
  }
  if (kind == "var") {
    if (words.size() != 2) return wrong_count("$(var NAME)");
    FOVEA_ASSIGN(const std::string name, expand_at(words[1], context, depth));
    const auto found = context.variables.find(name);
    if (found != context.variables.end()) return found->second;
    std::vector<std::string> known;
    for (const auto& [key, value] : context.variables) known.push_back(key);
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("undefined variable `{}` in $({}){}", said(name, kMaxQuoted),
                            said(inner, kMaxQuoted), did_you_mean(name, known)));
  }
  if (kind == "env") {
    if (words.size() < 2) return wrong_count("$(env NAME) or $(env NAME DEFAULT)");
    FOVEA_ASSIGN(const std::string name, expand_at(words[1], context, depth));
    if (const char* value = std::getenv(name.c_str())) return std::string(value);
    if (words.size() == 2) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("environment variable {} is not set and $({}) has no default",
                              said(name, kMaxQuoted), said(inner, kMaxQuoted)));
    }
    const auto rest = static_cast<std::size_t>(words[2].data() - inner.data());
    std::string_view fallback = inner.substr(rest);
    while (!fallback.empty() && fallback.back() == ' ') fallback.remove_suffix(1);
    return expand_at(fallback, context, depth);
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("unknown substitution $({}){}", said(inner, kMaxQuoted),
                          did_you_mean(kind, {"var", "env", "dirname", "share"})));
}

Result<std::string> expand_at(std::string_view text, const SubstitutionContext& context,
                              int depth) {
  if (depth > kMaxDepth) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("substitutions are nested more than {} deep", kMaxDepth));
  }
  std::string out;
  std::size_t position = 0;
  while (true) {
    const std::size_t dollar = text.find("$(", position);
    out += text.substr(position, dollar == std::string_view::npos ? dollar : dollar - position);
    if (out.size() > kMaxValueBytes) return too_long();
    if (dollar == std::string_view::npos) return out;
    const std::size_t end = end_of_substitution(text, dollar + 2);
    if (end == std::string_view::npos) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("`{}` lacks the closing parenthesis of a substitution",
                              said(text, kMaxQuoted)));
    }
    FOVEA_ASSIGN(const std::string value,
                 expand_one(text.substr(dollar + 2, end - dollar - 3), context, depth + 1));
    if (out.size() + value.size() > kMaxValueBytes) return too_long();
    out += value;
    position = end;
  }
}

}  // namespace

Result<std::string> expand(std::string_view text, const SubstitutionContext& context) {
  if (text.size() > kMaxValueBytes) return too_long();
  return expand_at(text, context, 0);
}

}  // namespace fovea::launch
