// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"
#include "../options.hpp"
#include "endpoint.hpp"
#include "url.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// "host", "host:port" or "[address]:port".
inline Endpoint read_host(std::string_view text, int default_port) {
  std::vector<Url::Setting> settings;
  split_host(text, settings);
  Endpoint endpoint{{}, default_port};
  for (const auto& [name, value] : settings) {
    if (name == "host") endpoint.host = value;
    if (name == "port") assign(name, value, endpoint.port);
  }
  if (endpoint.host.empty() || !is_host(endpoint.host)) throw_bad_option("host", "each must be a name or an address");
  if (endpoint.port < 1 || endpoint.port > 65535) throw_bad_option("port", "must be from 1 to 65535");
  return endpoint;
}

inline std::vector<Endpoint> read_hosts(const std::vector<std::string>& hosts, int default_port) {
  if (hosts.empty()) throw_bad_option("host", "there must be at least one");
  std::vector<Endpoint> endpoints;
  for (const std::string& host : hosts) endpoints.push_back(read_host(host, default_port));
  return endpoints;
}

// The hosts of a URL, which are separated by commas.
inline std::vector<std::string> split_hosts(std::string_view text) {
  std::vector<std::string> hosts;
  for (bool has_more = true; has_more;) {
    has_more = text.find(',') != std::string_view::npos;
    hosts.push_back(percent_decoded("host", take_until(text, ',')));
  }
  return hosts;
}

// The options that are the same for all hosts of a URL; `path` is that of the database, with or without its '/'.
// `for_each_more(visit)` calls visit(name, member) for each option that there is besides.
template <class ForEach>
Options node_options(const Url& url, std::string_view path, ForEach for_each_more) {
  if (url.scheme == "unix") throw InvalidArgument("URL: a cluster or sentinels have hosts, not the path of a socket");
  Options options;
  OptionSetter setter([&](auto visit) {
    for_each_other_option(options, visit);
    for_each_more(visit);
  });
  if (url.scheme == "rediss") setter.set({"tls", "true"});
  if (!path.empty() && path.front() == '/') path.remove_prefix(1);
  if (!path.empty()) setter.set({"database", path});
  for (const auto& setting : url.settings) {
    if (setting.name == "host" || setting.name == "port" || setting.name == "unix_socket") {
      throw_bad_option(setting.name, "stands before the path, in the list of hosts");
    }
    setter.set(setting);
  }
  options.validate();
  return options;
}
inline Options node_options(const Url& url, std::string_view path) {
  return node_options(url, path, [](auto) {});
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
