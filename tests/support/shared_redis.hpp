#pragma once

// The Redis that CTest starts for all tests that include this file. Each test file has databases of its own.

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "address.hpp"
#include "probe.hpp"

namespace larder::testing {

inline std::string redis_socket() {
  const char* const path = std::getenv("LARDER_TEST_SOCKET");
  if (!path || !*path) throw std::runtime_error("LARDER_TEST_SOCKET is not set: run the tests with ./tests/run.sh");
  return path;
}

inline Address shared_redis() { return {redis_socket(), 0}; }

/// The URL of the shared Redis; `options` as in "db=3&command_timeout=30s", `user` as in "user:password@".
inline std::string redis_url(const std::string& options = {}, const std::string& user = {}) {
  return "unix://" + user + redis_socket() + (options.empty() ? "" : "?") + options;
}

/// A Probe of a database that a test has to itself: empty at the beginning, and emptied at the end.
struct PrivateDatabase : Probe {
  explicit PrivateDatabase(int database) : Probe(shared_redis(), database) { (*this)("FLUSHDB"); }
  ~PrivateDatabase() { (*this)("FLUSHDB"); }
  PrivateDatabase(const PrivateDatabase&) = delete;
  PrivateDatabase& operator=(const PrivateDatabase&) = delete;
};

}  // namespace larder::testing
