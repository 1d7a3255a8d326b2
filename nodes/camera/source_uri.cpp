// URI splitting and query values of source_uri.hpp.
#include "nodes/camera/source_uri.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace fovea::frames {

namespace {

constexpr std::string_view kSeparator = "://";

bool is_rtsp(std::string_view scheme) { return scheme == "rtsp" || scheme == "rtsps"; }

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// nullopt for a `%` without two hexadecimal digits, or one that stands for NUL.
std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
    decoded += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return decoded;
}

bool parse_number(std::string_view text, double low, double high, double& value) {
  double parsed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc{} || end != text.data() + text.size()) return false;
  if (!(parsed >= low && parsed <= high)) return false;
  value = parsed;
  return true;
}

}  // namespace

bool detail::parse_unsigned(std::string_view text, std::uint64_t low, std::uint64_t high,
                            std::uint64_t& value) {
  std::uint64_t parsed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc{} || end != text.data() + text.size()) return false;
  if (parsed < low || parsed > high) return false;
  value = parsed;
  return true;
}

std::string redact_uri(std::string_view uri) {
  const std::size_t separator = uri.find(kSeparator);
  if (separator == std::string_view::npos) return std::string(uri);
  const std::string_view scheme = uri.substr(0, separator);
  const std::size_t start = separator + kSeparator.size();
  std::string_view rest = uri.substr(start);
  std::string safe(uri.substr(0, start));
  if (scheme == "file" || scheme == "images" || scheme == "synthetic" || scheme == "v4l2") {
    return safe.append(rest);
  }
  // Up to the last `@`, wherever it lies: a password with an unescaped `/` or `?` must not slip
  // through.
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    safe += "***@";
    rest = rest.substr(at + 1);
  }
  const std::size_t question = rest.find('?');
  safe += rest.substr(0, question);
  if (question != std::string_view::npos) safe += "?***";
  return safe;
}

Result<SourceUri> parse_source_uri(std::string_view uri) {
  SourceUri parsed;
  parsed.text = redact_uri(uri);
  const auto invalid = [&](std::string_view what) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("source '{}': {}", parsed.text, what));
  };
  if (uri.find('\0') != std::string_view::npos) return invalid("contains a NUL byte");
  const std::size_t separator = uri.find(kSeparator);
  if (separator == std::string_view::npos) {
    return invalid(fmt::format("has no scheme; it must start with {}", kSchemes));
  }
  parsed.scheme = uri.substr(0, separator);
  const std::string_view rest = uri.substr(separator + kSeparator.size());
  if (is_rtsp(parsed.scheme)) {
    parsed.path = rest;
    return parsed;
  }

  const std::size_t question = rest.find('?');
  auto path = percent_decode(rest.substr(0, question));
  if (!path) return invalid("has a '%' that is not followed by two hexadecimal digits (write %25)");
  parsed.path = std::move(*path);
  if (question == std::string_view::npos) return parsed;
  std::string_view query = rest.substr(question + 1);
  while (!query.empty()) {
    const std::size_t ampersand = query.find('&');
    const std::string_view item = query.substr(0, ampersand);
    query = ampersand == std::string_view::npos ? "" : query.substr(ampersand + 1);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return invalid(fmt::format("query item '{}' is not key=value", item));
    }
    parsed.query.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  return parsed;
}

QueryKey bool_key(std::string_view name, bool& target) {
  return {name, "true or false", [&target](std::string_view text) {
            if (text != "true" && text != "false") return false;
            target = text == "true";
            return true;
          }};
}

QueryKey number_key(std::string_view name, std::string_view valid, double& target, double low,
                    double high) {
  return {name, valid, [&target, low, high](std::string_view text) {
            return parse_number(text, low, high, target);
          }};
}

QueryKey rate_key(double& target) {
  return {"rate", "native, max or 0.001..1000 (Hz)", [&target](std::string_view text) {
            if (text == "native") {
              target = 0;
              return true;
            }
            if (text == "max") {
              target = std::numeric_limits<double>::infinity();
              return true;
            }
            return parse_number(text, 0.001, 1000, target);
          }};
}

Result<> apply_query(const SourceUri& uri, const std::vector<QueryKey>& keys) {
  for (const auto& [name, value] : uri.query) {
    const QueryKey* found = nullptr;
    for (const QueryKey& key : keys) {
      if (key.name == name) found = &key;
    }
    if (found == nullptr) {
      std::vector<std::string_view> names;
      for (const QueryKey& key : keys) names.push_back(key.name);
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("source '{}': unknown key '{}'; {}:// takes {}", uri.text, name,
                              uri.scheme, fmt::join(names, ", ")));
    }
    if (!found->set(value)) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("source '{}': {} is {}; it must be {}",
                                                           uri.text, name, value, found->valid));
    }
  }
  return {};
}

}  // namespace fovea::frames
