// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "../../version.hpp"
#include "own_connection.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Whether a command of this name changes nothing. One that is not known is taken for a change.
constexpr bool is_read(std::string_view name) noexcept {
  constexpr std::string_view names[] = {
      "GET",     "MGET",      "EXISTS",   "PTTL",   "TTL",      "STRLEN",     "SCAN",        "GETRANGE", "PING",
      "ECHO",    "INFO",      "DBSIZE",   "TYPE",   "TIME",     "ROLE",       "KEYS",        "HGET",     "HMGET",
      "HGETALL", "HEXISTS",   "HLEN",     "LLEN",   "LRANGE",   "LINDEX",     "SCARD",       "ZSCORE",   "ZRANGE",
      "ZCARD",   "ZRANK",     "SMEMBERS", "GETBIT", "BITCOUNT", "SISMEMBER",  "HSCAN",       "SSCAN",    "ZSCAN",
      "SUBSTR",  "RANDOMKEY", "XRANGE",   "XLEN",   "XREAD",    "EXPIRETIME", "PEXPIRETIME", "ASKING"};
  for (const std::string_view read : names) {
    if (is_same_word(name, read)) return true;
  }
  return false;
}

// The same of an encoded command.
inline bool changes_nothing(std::string_view encoded) noexcept {
  encoded.remove_prefix(encoded.find('$'));
  const std::string_view name = take_word(encoded);
  const auto goes_on_with = [&](std::string_view word) {
    return !encoded.empty() && is_same_word(take_word(encoded), word);
  };
  if (is_same_word(name, "CLUSTER")) return goes_on_with("SLOTS");
  if (is_same_word(name, "SENTINEL")) return goes_on_with("GET-MASTER-ADDR-BY-NAME");
  return is_read(name);
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
