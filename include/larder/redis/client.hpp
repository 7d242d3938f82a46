// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "../version.hpp"
#include "command.hpp"
#include "reply.hpp"

namespace larder::redis {
inline namespace LARDER_ABI {

/// Runs commands on Redis. Implementations are thread-safe; when a call returns or throws, they no longer look at the
/// commands.
///
/// A server's error is a Reply of kind `failure`; everything else that goes wrong is thrown as an Error (see
/// error.hpp).
class Client {
 public:
  Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  /// Runs one command.
  virtual Reply run(const Command& command) = 0;

  /// Runs commands one after another, without waiting for the replies between them; the replies are in the order of the
  /// commands. When it throws, any of them may have been carried out.
  virtual std::vector<Reply> run(const std::vector<Command>& commands) = 0;

  /// The clients of all nodes that together hold every key once, for what has to be done on each. They live as long as
  /// this one does.
  virtual std::vector<Client*> primaries() { return {this}; }
};

}  // namespace LARDER_ABI
}  // namespace larder::redis
