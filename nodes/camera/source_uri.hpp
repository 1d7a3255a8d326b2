// Splits a camera URI and applies its query to typed settings, with errors that name the URI and
// what would be valid, and without ever showing credentials.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::frames {

struct SourceUri {
  std::string scheme;
  std::string path;  // after `scheme://`, up to the query; %XX decoded
  std::vector<std::pair<std::string, std::string>> query;
  std::string text;  // safe to log
};

inline constexpr std::string_view kSchemes =
    "file://, images://, bag://, synthetic://, v4l2://, rtsp:// or rtsps://";

// `rtsp://admin:secret@host/x?token=1` becomes `rtsp://***@host/x?***`; queries of other schemes
// stay.
std::string redact_uri(std::string_view uri);

// rtsp and rtsps keep everything after `://` in `path`, because their query is the camera's.
Result<SourceUri> parse_source_uri(std::string_view uri);

// One key that a scheme understands: `set` returns false for a value that is not `valid`.
struct QueryKey {
  std::string_view name;
  std::string_view valid;
  std::function<bool(std::string_view)> set;
};

QueryKey bool_key(std::string_view name, bool& target);
QueryKey rate_key(double& target);
QueryKey number_key(std::string_view name, std::string_view valid, double& target, double low,
                    double high);

template <class Unsigned>
QueryKey unsigned_key(std::string_view name, std::string_view valid, Unsigned& target,
                      std::uint64_t low, std::uint64_t high);

// kInvalidArgument for an unknown key (lists the valid ones) or a value that its key refuses.
Result<> apply_query(const SourceUri& uri, const std::vector<QueryKey>& keys);

namespace detail {
bool parse_unsigned(std::string_view text, std::uint64_t low, std::uint64_t high,
                    std::uint64_t& value);
}

template <class Unsigned>
QueryKey unsigned_key(std::string_view name, std::string_view valid, Unsigned& target,
                      std::uint64_t low, std::uint64_t high) {
  return {name, valid, [&target, low, high](std::string_view text) {
            std::uint64_t value = 0;
            if (!detail::parse_unsigned(text, low, high, value)) return false;
            target = static_cast<Unsigned>(value);
            return true;
          }};
}

}  // namespace fovea::frames
