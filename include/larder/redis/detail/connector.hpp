// SPDX-License-Identifier: MIT
#pragma once

#include <hiredis/hiredis.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "../../error.hpp"
#include "../options.hpp"
#include "connection.hpp"
#include "handshake.hpp"
#include "hiredis.hpp"
#include "socket.hpp"
#include "stream.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// Waits for a connection attempt to succeed.
inline Stream connected(redisContext* attempt, const std::string& where, Deadline deadline) {
  if (!attempt) throw std::bad_alloc();
  Stream stream = Stream::own(attempt);
  const auto fail = [&](const std::string& why) { throw ConnectionError("cannot connect to " + where + ": " + why); };
  if (attempt->err != 0) fail(attempt->errstr);
  if (stream.wait(POLLOUT, deadline) == 0) {
    throw TimeoutError("cannot connect to " + where + ": the time allowed ran out");
  }
  const int error = pending_error(attempt->fd);
  if (error != 0) fail(std::system_category().message(error));
  suppress_sigpipe(attempt->fd);
  close_on_exec(attempt->fd);
  return stream;
}

// Connects to the first address of the host that accepts.
inline Stream connect_stream(const Options& options, Deadline deadline) {
  if (!options.unix_socket.empty()) {
    return connected(redisConnectUnixNonBlock(options.unix_socket.c_str()), options.unix_socket, deadline);
  }
  const std::string where = options.host + ":" + std::to_string(options.port);
  const auto addresses = addresses_of(options.host);
  for (std::size_t i = 0;; ++i) {
    const Deadline now = std::chrono::steady_clock::now();
    const Deadline share = now + (deadline - now) / static_cast<int>(addresses.size() - i);
    try {
      redisContext* const attempt = redisConnectNonBlock(addresses.at(i).c_str(), options.port);
      Stream stream = connected(attempt, where, share);
      send_without_delay(attempt->fd);
      redisEnableKeepAlive(attempt);
      return stream;
    } catch (const ConnectionError&) {
      if (i + 1 == addresses.size()) throw;
    }
  }
}

// Makes connections to one server.
class Connector {
 public:
  // With a borrowed context, that is the only connection that it makes.
  Connector(const Options& options, redisContext* borrowed) : options_(options), borrowed_(borrowed) {}

  // A connection that is ready for use. Throws ConnectionError, or ServerError if the server refuses; for a borrowed
  // context also what Stream::borrow() throws.
  std::unique_ptr<Connection> connect(Deadline deadline) const {
    if (borrowed_) return std::make_unique<Connection>(options_, Stream::borrow(borrowed_));
    try {
      return try_to_connect(deadline);
    } catch (const LostInHandshake&) {
      return try_to_connect(deadline);
    }
  }

 private:
  std::unique_ptr<Connection> try_to_connect(Deadline deadline) const {
    auto connection = std::make_unique<Connection>(options_, connect_stream(options_, deadline));
    shake_hands(*connection, options_, deadline);
    return connection;
  }

  const Options& options_;
  redisContext* const borrowed_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
