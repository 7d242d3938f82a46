// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "clock.hpp"
#include "connection.hpp"
#include "hiredis.hpp"
#include "tls_layer.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// A new connection broke before it could be used. As the server had accepted it, another one may well do better.
class LostInHandshake : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

// Who connects.
struct Login {
  std::string username;
  std::string password;
};

// Asks Options::credentials, if there are any.
inline Login current_login(const Options& options) {
  if (!options.credentials) return {options.username, options.password};
  try {
    auto [username, password] = options.credentials->get();
    return {std::move(username), std::move(password)};
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw ConnectionError(std::string("credentials: ") + error.what());
  } catch (...) {
    throw ConnectionError("credentials: an unknown exception");
  }
}

// What is said to a server before the first command: who asks, for which database. In steps that do not wait.
class Handshake {
 public:
  Handshake(const Login& login, const Options& options) : has_user_(!login.username.empty()) {
    if (has_user_) {
      commands_.emplace_back("AUTH", login.username, login.password);
    } else if (!login.password.empty()) {
      commands_.emplace_back("AUTH", login.password);
    }
    if (options.database != 0) commands_.emplace_back("SELECT", options.database);
    if (!options.client_name.empty()) commands_.emplace_back("CLIENT", "SETNAME", options.client_name);
    if (options.primary_only) commands_.emplace_back("HELLO", 2);
    commands_.emplace_back("PING");
  }

  // On a new connection.
  void begin(Connection& connection) {
    answered_ = 0;
    for (const Command& command : commands_) {
      if (!connection.has_room_for(command.size())) {
        throw InvalidArgument("user name, password and client name are too long for one request");
      }
      connection.append(command);
    }
  }

  // Goes on as far as that is possible without waiting. Throws ServerError if the server refuses, LostInHandshake or
  // ProtocolError.
  void step(Connection& connection) {
    try {
      connection.send_now();
      connection.receive_now(Clock::now());
    } catch (const TlsRefusal&) {
      throw;
    } catch (const ConnectionError& error) {
      throw LostInHandshake(error.what());
    }
    while (Reply* reply = connection.next()) {
      if (is_done()) throw ProtocolError("the server sent a reply that nobody asked for");
      check(commands_[answered_], *reply);
      ++answered_;
    }
  }

  // Whether the server serves.
  bool is_done() const noexcept { return answered_ == commands_.size(); }
  bool was_answered() const noexcept { return answered_ != 0; }

 private:
  // Whatever else the server refuses, it may serve the commands that are to come.
  void check(const Command& command, Reply& reply) const {
    const std::string_view failure = reply.failure();
    const std::string_view code = failure.substr(0, failure.find(' '));
    const std::string_view name = command.name();
    if (failure.empty()) {
      if (reply.kind() == Reply::Kind::out_of_memory) throw std::bad_alloc();
      if (name == "HELLO") return check_role(reply);
      if (!reply.is_status(name == "PING" ? "PONG" : "OK")) {
        throw ProtocolError("the server's answer does not fit " + std::string(name));
      }
    } else if (name == "AUTH") {
      throw ServerError(auth_refusal(failure, code));
    } else if (name == "SELECT" || code == "NOAUTH" || code == "DENIED" || is_full(failure)) {
      throw ServerError(std::string(failure));
    }
  }

  // Throws ConnectionError if the answer to HELLO says that the server is a replica, or a Sentinel, which has no role.
  // A server that does not know the command is believed.
  static void check_role(Reply& hello) {
    if (hello.kind() != Reply::Kind::array) return;
    const auto parts = hello.take_array();
    const auto is = [](const Reply& part, std::string_view text) {
      return part.kind() == Reply::Kind::string && part.string() == text;
    };
    for (std::size_t i = 0; i + 1 < parts.size(); i += 2) {
      if (is(parts[i], "role") && !is(parts[i + 1], "master")) throw ConnectionError("the server is not the primary");
      if (is(parts[i], "mode") && is(parts[i + 1], "sentinel")) {
        throw ConnectionError("the server is a Sentinel (its URL is redis+sentinel://host:port/name)");
      }
    }
  }

  static bool contains(std::string_view text, std::string_view part) noexcept {
    return text.find(part) != std::string_view::npos;
  }
  static bool is_full(std::string_view failure) noexcept { return contains(failure, "max number of clients"); }

  // The server's own text may repeat the password.
  std::string auth_refusal(std::string_view failure, std::string_view code) const {
    const char* why = "the server refused it";
    if (contains(failure, "without any password") || contains(failure, "no password is set")) {
      why = "a password was given, and the server has none set";
    } else if (code == "WRONGPASS" || contains(failure, "invalid password")) {
      why = has_user_ ? "the user is unknown or disabled, or the password is wrong" : "the password is wrong";
    } else if (contains(failure, "wrong number of arguments")) {
      why = "a user name was given, and the server has none (Redis before 6)";
    } else if (is_full(failure) || contains(failure, "protected mode")) {
      return std::string(failure);
    }
    return std::string(code) + " AUTH: " + why;
  }

  std::vector<Command> commands_;
  std::size_t answered_ = 0;
  bool has_user_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
