// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "../../error.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "connection.hpp"
#include "hiredis.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// A new connection broke before it could be used. As the server had accepted it, another one may well do better.
class LostInHandshake : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

// What the server has to know before the first command.
inline std::vector<Command> handshake_commands(const Options& options) {
  std::vector<Command> commands;
  if (!options.username.empty()) {
    commands.emplace_back("AUTH", options.username, options.password);
  } else if (!options.password.empty()) {
    commands.emplace_back("AUTH", options.password);
  }
  if (options.database != 0) commands.emplace_back("SELECT", options.database);
  if (!options.client_name.empty()) commands.emplace_back("CLIENT", "SETNAME", options.client_name);
  if (options.primary_only) commands.emplace_back("HELLO", 2);
  commands.emplace_back("PING");  // shows whether it serves us at all
  for (Command& command : commands) {
    if (command.name() != "HELLO") command.expects(Reply::Kind::status);
  }
  return commands;
}

// Throws ConnectionError if the answer to HELLO says that the server is a replica. A server that does not know the
// command is believed.
inline void check_role(Reply& hello) {
  if (hello.kind() != Reply::Kind::array) return;
  const auto parts = hello.take_array();
  const auto is = [](const Reply& part, std::string_view text) {
    return part.kind() == Reply::Kind::string && part.string() == text;
  };
  for (std::size_t i = 0; i + 1 < parts.size(); i += 2) {
    if (is(parts[i], "role") && !is(parts[i + 1], "master")) throw ConnectionError("the server is not the primary");
  }
}

// Authenticates and selects the database. Throws LostInHandshake, or ServerError if the server refuses.
inline void shake_hands(Connection& connection, const Options& options, Deadline deadline) {
  const auto commands = handshake_commands(options);
  std::vector<Reply> replies(commands.size());
  bool in_time = true;
  try {
    in_time = connection.exchange(commands.data(), commands.size(), replies.data(), deadline, nullptr);
  } catch (const ProtocolError&) {
    throw;
  } catch (const ConnectionError& error) {
    throw LostInHandshake(error.what());
  }
  if (!in_time) throw TimeoutError("the server did not answer to a new connection in the time allowed");
  const bool authenticates = !options.username.empty() || !options.password.empty();
  if (authenticates && !replies.front().failure().empty()) {
    const std::string_view refusal = replies.front().failure();  // may repeat the password
    throw ServerError(std::string(refusal.substr(0, refusal.find(' '))) + " the server refused AUTH");
  }
  if (options.primary_only) check_role(replies[replies.size() - 2]);
  const std::size_t others = replies.size() - (options.primary_only ? 2 : 1);
  for (std::size_t i = 0; i < others; ++i) (void)replies[i].is_status();
  const std::string_view failure = replies.back().failure();
  const std::string_view code = failure.substr(0, failure.find(' '));
  const bool serves = code == "NOPERM" || code == "LOADING" || code == "MASTERDOWN" || code == "BUSY";
  if (!serves) (void)replies.back().is_status();
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
