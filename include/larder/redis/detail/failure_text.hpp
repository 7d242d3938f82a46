// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Whether a server does not know a command that every server of data knows.
inline bool looks_like_sentinel(std::string_view failure) noexcept {
  constexpr std::string_view begin = "ERR unknown command ";
  if (failure.size() <= begin.size() || failure.substr(0, begin.size()) != begin) return false;
  std::string_view name = failure.substr(begin.size() + 1);  // after a quote, which depends on the version
  name = name.substr(0, name.find_first_of("'`"));
  for (const auto* known : {"GET", "SET", "MGET", "DEL", "EXISTS", "PEXPIRE", "PTTL", "SCAN", "SELECT"}) {
    if (name == known) return true;
  }
  return false;
}

// The text of a server's error as it is shown: without the arguments of a command that the server does not know.
inline std::string shown_failure(std::string_view text) {
  std::string shown(text.substr(0, text.find(", with args beginning with")));
  if (looks_like_sentinel(shown)) shown += "; is this a Sentinel (redis+sentinel://host:port/name)?";
  return shown;
}

// The same for a caller who does not look into it: what MOVED means to a client that knows one server.
inline std::string thrown_failure(std::string_view shown) {
  std::string text(shown);
  if (shown.substr(0, 6) == "MOVED ") text += "; the URL of a Cluster is redis+cluster://host:port";
  return text;
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
