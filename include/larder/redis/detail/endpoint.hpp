// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Where a node of a cluster is, as the nodes tell it. No host: that of the node that told.
struct Endpoint {
  std::string host;
  int port = 0;

  bool operator==(const Endpoint& other) const noexcept { return port == other.port && host == other.host; }
  bool operator!=(const Endpoint& other) const noexcept { return !(*this == other); }
};

// As in messages and URLs.
inline std::string to_string(const Endpoint& endpoint) {
  const bool is_ipv6 = endpoint.host.find(':') != std::string::npos;
  return (is_ipv6 ? '[' + endpoint.host + ']' : endpoint.host) + ':' + std::to_string(endpoint.port);
}

// Digits alone, from `lowest` to `highest`.
inline std::optional<int> read_integer(std::string_view text, int lowest, int highest) noexcept {
  int number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || number < lowest || number > highest) return std::nullopt;
  return number;
}

// Whether text can be the name or the address of a host.
inline bool is_host(std::string_view text) noexcept {
  constexpr std::size_t longest = 255;
  if (text.size() > longest) return false;
  for (const char c : text) {
    if (c <= ' ' || c == '\x7F' || c == ',') return false;  // bytes over 127 too: such names are written in ASCII
  }
  return true;
}

// A host that a node announces: empty, `?` and none are those of the node that tells.
inline std::optional<Endpoint> make_endpoint(std::string_view host, int port) {
  if (host == "?") host = {};
  if (!is_host(host) || port < 1 || port > 65535) return std::nullopt;
  return Endpoint{std::string(host), port};
}

// host:port, where an IPv6 address has no brackets.
inline std::optional<Endpoint> read_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = read_integer(text.substr(colon + 1), 1, 65535);
  if (!port) return std::nullopt;
  return make_endpoint(text.substr(0, colon), *port);
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
