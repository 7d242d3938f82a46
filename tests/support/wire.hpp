#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace larder::testing {

/// A request as it goes over the wire.
template <class Words = std::initializer_list<std::string_view>>
std::string request(const Words& words) {
  std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string_view word : words) {
    bytes.append("$" + std::to_string(word.size()) + "\r\n").append(word).append("\r\n");
  }
  return bytes;
}

/// A string as a server answers with it.
inline std::string bulk(std::string_view text) {
  return ("$" + std::to_string(text.size()) + "\r\n").append(text).append("\r\n");
}

}  // namespace larder::testing
