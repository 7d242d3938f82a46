#pragma once

#include <larder/redis/options.hpp>
#include <string>

namespace larder::testing {

/// Where a server listens: the path of a unix socket, or a port of 127.0.0.1.
struct Address {
  std::string path;
  int port = 0;

  redis::Options options() const {
    redis::Options options;
    options.unix_socket = path;
    if (path.empty()) options.port = port;
    return options;
  }
  /// As it stands in messages.
  std::string text() const { return path.empty() ? "127.0.0.1:" + std::to_string(port) : path; }
  std::string url() const { return path.empty() ? "redis://127.0.0.1:" + std::to_string(port) : "unix://" + path; }
};

}  // namespace larder::testing
