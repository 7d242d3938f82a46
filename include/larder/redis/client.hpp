// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "../version.hpp"
#include "command.hpp"
#include "options.hpp"
#include "reply.hpp"

namespace larder::redis {
inline namespace LARDER_ABI {

/// Runs commands on Redis. Implementations are thread-safe; when a call returns or throws, they no longer look at the
/// commands. To write one, derive from this class and define do_run(); the other virtual functions have defaults for a
/// single server.
///
/// A server's error is a Reply of kind `failure`; everything else that goes wrong is thrown as an Error (see
/// error.hpp).
class Client {
 public:
  Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  /// Runs one command. It ends by the deadline, with the reply or a TimeoutError; without a deadline, in the time that
  /// the client allows for it.
  Reply run(const Command& command, std::optional<Deadline> deadline = std::nullopt) {
    Reply reply;
    do_run(&command, 1, &reply, deadline);
    return reply;
  }

  /// Runs commands one after another, without waiting for the replies between them; the replies are in the order of the
  /// commands. All of it ends by the deadline. When it throws, any of them may have been carried out.
  std::vector<Reply> run(const std::vector<Command>& commands, std::optional<Deadline> deadline = std::nullopt) {
    std::vector<Reply> replies(commands.size());
    if (!commands.empty()) do_run(commands.data(), commands.size(), replies.data(), deadline);
    return replies;
  }

  /// Where in a cluster a key belongs. All keys of one command must have the same slot.
  virtual std::size_t slot(std::string_view /*prefix*/, std::string_view /*key*/) const { return 0; }

  /// Another number than before if a connection was lost, the server may be another one, or keys may have moved between
  /// nodes: a cursor of SCAN says nothing then.
  virtual std::uint64_t generation() const noexcept { return 0; }

  /// Does what is due, without waiting: asks who the server is now, for one. Calls do it in passing.
  virtual void tend() {}

  /// Calls visit(Client&) for each of the nodes that together hold every key once, for what has to be done on all. A
  /// command without a key that is given to it goes to that node. The reference is good until `visit` returns.
  template <class Visit>
  void for_each_primary(Visit visit) {
    do_for_each_primary([](Client& node, void* argument) { (*static_cast<Visit*>(argument))(node); },
                        std::addressof(visit));
  }

 private:
  // Puts the replies to commands[0 .. count) into replies[0 .. count), or throws. count is at least 1. It ends by the
  // deadline, or if there is none, in the client's own time.
  virtual void do_run(const Command* commands, std::size_t count, Reply* replies, std::optional<Deadline> deadline) = 0;

  // Calls visit(node, argument) for each primary.
  virtual void do_for_each_primary(void (*visit)(Client& node, void* argument), void* argument) {
    visit(*this, argument);
  }
};

}  // namespace LARDER_ABI
}  // namespace larder::redis
