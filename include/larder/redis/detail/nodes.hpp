// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "../../version.hpp"
#include "../options.hpp"
#include "../pool.hpp"
#include "endpoint.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// A server that belongs with others.
struct Node {
  Node(const Endpoint& where, const Options& options) : endpoint(where), pool(at(where, options)) {}

  const Endpoint endpoint;
  Pool pool;

 private:
  static Options at(const Endpoint& where, Options options) {
    options.host = where.host;
    options.port = where.port;
    options.unix_socket.clear();
    if (options.tls && options.tls_server_name != where.host) options.tls_server_name.insert(0, where.host + ',');
    return options;
  }
};

// The nodes that were ever heard of. They stay where they are, so that a call may use one while the topology changes; a
// node that is not used keeps no connection. Thread-safe.
class Nodes {
 public:
  // `options` are for all nodes; they have been checked. `seeds` are those that the user named. The certificate of a
  // node may be for the host that the others know it by, or for one that the user named.
  Nodes(Options options, const std::vector<Endpoint>& seeds) : options_(std::move(options)) {
    if (!options_.tls || !options_.tls_server_name.empty()) return;
    for (const Endpoint& seed : seeds) {
      if (!options_.tls_server_name.empty()) options_.tls_server_name += ',';
      options_.tls_server_name += seed.host;
    }
  }

  Node& at(const Endpoint& where) {
    const std::lock_guard<std::mutex> hold(mutex_);
    for (const auto& node : nodes_) {
      if (node->endpoint == where) return *node;
    }
    nodes_.push_back(std::make_unique<Node>(where, options_));
    return *nodes_.back();
  }

  std::vector<Node*> all() {
    const std::lock_guard<std::mutex> hold(mutex_);
    std::vector<Node*> nodes;
    for (const auto& node : nodes_) nodes.push_back(node.get());
    return nodes;
  }

 private:
  Options options_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
