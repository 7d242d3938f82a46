// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"
#include "endpoint.hpp"
#include "url.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// "host", "host:port" or "[address]:port", percent-encoded.
inline Endpoint read_host(std::string_view text, int default_port) {
  std::vector<Url::Setting> settings;
  split_host(text, settings);
  Endpoint endpoint{{}, default_port};
  for (const auto& [name, value] : settings) {
    if (name == "host") assign(name, value, endpoint.host);
    if (name == "port") assign(name, value, endpoint.port);
  }
  if (endpoint.host.empty() || !is_host(endpoint.host)) throw_bad_option("host", "each must be a name or an address");
  if (endpoint.port < 1 || endpoint.port > 65535) throw_bad_option("port", "must be from 1 to 65535");
  return endpoint;
}

// The hosts of a URL, separated by commas.
inline std::vector<Endpoint> read_hosts(std::string_view text, int default_port) {
  std::vector<Endpoint> endpoints;
  do {
    endpoints.push_back(read_host(take_until(text, ','), default_port));
  } while (!text.empty());
  return endpoints;
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
