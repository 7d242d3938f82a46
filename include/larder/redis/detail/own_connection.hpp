// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cstddef>
#include <string_view>

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

constexpr bool is_same_word(std::string_view word, std::string_view upper) noexcept {
  if (word.size() != upper.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = word[i] >= 'a' && word[i] <= 'z' ? static_cast<char>(word[i] - 'a' + 'A') : word[i];
    if (c != upper[i]) return false;
  }
  return true;
}

// The commands that cannot share a connection, by their length: they change it for all who use it after, or keep it
// busy. CLIENT, XREAD and XREADGROUP only with some arguments.
constexpr std::string_view own_connection_commands(std::size_t size) noexcept {
  switch (size) {
    case 4:
      return "AUTH EXEC QUIT SYNC WAIT";
    case 5:
      return "BLPOP BRPOP HELLO MULTI PSYNC RESET WATCH XREAD";
    case 6:
      return "BLMOVE BLMPOP BZMPOP CLIENT SELECT";
    case 7:
      return "DISCARD MONITOR UNWATCH WAITAOF";
    case 8:
      return "BZPOPMAX BZPOPMIN READONLY";
    case 9:
      return "READWRITE SUBSCRIBE";
    case 10:
      return "BRPOPLPUSH PSUBSCRIBE SSUBSCRIBE XREADGROUP";
    case 11:
      return "UNSUBSCRIBE";
    case 12:
      return "PUNSUBSCRIBE SUNSUBSCRIBE";
    default:
      return {};
  }
}

constexpr bool may_need_own_connection(std::string_view name) noexcept {
  for (std::string_view names = own_connection_commands(name.size()); !names.empty();) {
    if (is_same_word(name, names.substr(0, name.size()))) return true;
    names.remove_prefix(name.size() == names.size() ? name.size() : name.size() + 1);
  }
  return false;
}

// Takes the first string off an encoded command, from its '$' on.
inline std::string_view take_word(std::string_view& encoded) noexcept {
  const std::size_t line_end = encoded.find('\r');
  std::size_t size = 0;
  std::from_chars(encoded.data() + 1, encoded.data() + line_end, size);
  const std::string_view word = encoded.substr(line_end + 2, size);
  encoded.remove_prefix(line_end + 2 + size + 2);
  return word;
}

inline std::string_view first_word(std::string_view encoded) noexcept {
  encoded.remove_prefix(encoded.find('$'));
  return take_word(encoded);
}

// `encoded` is a whole command for which may_need_own_connection() is true.
inline bool needs_own_connection(std::string_view encoded) noexcept {
  encoded.remove_prefix(encoded.find('$'));
  const std::string_view name = take_word(encoded);
  if (is_same_word(name, "CLIENT")) {
    if (encoded.empty()) return false;
    const std::string_view what = take_word(encoded);
    for (const auto word : {"REPLY", "TRACKING", "CACHING", "NO-EVICT", "NO-TOUCH", "SETNAME", "SETINFO"}) {
      if (is_same_word(what, word)) return true;
    }
    return false;
  }
  if (!is_same_word(name.substr(0, 5), "XREAD")) return true;
  while (!encoded.empty()) {
    const std::string_view word = take_word(encoded);
    if (is_same_word(word, "BLOCK")) return true;
    for (std::size_t skipped = is_same_word(word, "GROUP") ? 2U : 0U; skipped != 0 && !encoded.empty(); --skipped) {
      take_word(encoded);
    }
    if (is_same_word(word, "STREAMS")) return false;
  }
  return false;
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
