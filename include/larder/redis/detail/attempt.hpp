// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../options.hpp"
#include "clock.hpp"
#include "connection.hpp"
#include "handshake.hpp"
#include "hiredis.hpp"
#include "resolver.hpp"
#include "socket.hpp"
#include "stream.hpp"
#include "tls_layer.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// An attempt to connect, in steps that do not wait. Used by one thread.
class Attempt {
 public:
  Attempt() = default;
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  virtual ~Attempt() = default;

  // Goes on as far as that is possible without waiting. Returns the connection when it is ready for use, and null while
  // there is something to wait for. All is to be done by `end`. Throws ConnectionError, or ServerError if the server
  // refuses; then it is over.
  virtual std::unique_ptr<Connection> step(Deadline end) = 0;

  // Waits until step() can go on, or `end`.
  virtual void wait(Deadline end) = 0;

  // All steps.
  std::unique_ptr<Connection> finish(Deadline end) {
    for (;;) {
      if (auto connection = step(end)) return connection;
      wait(end);
    }
  }
};

// Connects to a server, at the first of its addresses that accepts.
class ServerAttempt : public Attempt {
 public:
  // May have to look up the host's name. `tls`: null for a plain connection. All but `login` outlive it.
  ServerAttempt(const Options& options, const Login& login, AddressBook& book, TlsProvider* tls)
      : options_(options), book_(book), tls_(tls), addresses_(book.addresses()), handshake_(login, options) {}

  std::unique_ptr<Connection> step(Deadline end) override {
    const TimePoint now = Clock::now();
    if (began_ == TimePoint()) begin(now, end);
    for (;;) {
      switch (state_) {
        case State::opening:
          if (now >= end) time_out(end);
          if (now < retry_at_) return nullptr;
          open(now, end);
          break;
        case State::connecting:
          if (!is_ready(socket_.get(), POLLOUT) && now < share_end_) return nullptr;
          accepted();
          break;
        case State::securing:
          if (!was_secured()) break;
          if (layer_) {
            if (now >= end) throw TimeoutError("no end of the TLS handshake" + within(end) + tls_hint);
            return nullptr;
          }
          greet();
          break;
        case State::greeting:
          if (!was_greeted()) break;
          if (!handshake_.is_done() && now >= end) throw TimeoutError("no answer to a new connection" + within(end));
          if (handshake_.is_done()) book_.skip(tried_);
          return handshake_.is_done() ? std::move(connection_) : nullptr;
      }
    }
  }

  void wait(Deadline end) override {
    switch (state_) {
      case State::opening:
        std::this_thread::sleep_until((std::min)(retry_at_, end));
        break;
      case State::connecting:
        wait_for(socket_.get(), POLLOUT, share_end_);
        break;
      case State::securing:
        stream_->wait(POLLIN, end);
        break;
      case State::greeting:
        connection_->wait(end);
        break;
    }
  }

 private:
  enum class State : unsigned char {
    opening,     // an address is to be tried at retry_at_
    connecting,  // the socket is being connected
    securing,    // the TLS handshake
    greeting,    // the server is told who asks
  };

  // Each address gets an equal share of the time, but not so little that a distant server could not answer.
  static constexpr std::chrono::milliseconds least_share{200};
  static constexpr std::chrono::milliseconds longest_pause{32};
  static constexpr const char* tls_hint = "; does this port speak TLS?";

  void begin(TimePoint now, Deadline end) {
    if (now >= end) {
      book_.keep_untried(std::move(addresses_));
      throw TimeoutError("no time was left to connect");
    }
    began_ = now;
  }

  void open(TimePoint now, Deadline end) {
    const SocketAddress& address = addresses_[tried_];
    if (!socket_) {
      socket_ = open_socket(address.get()->sa_family);
      suppress_sigpipe(socket_.get());
      const auto share = (end - now) / static_cast<int>(addresses_.size() - tried_);
      share_end_ = (std::min)(end, now + (std::max)(share, Clock::duration(least_share)));
      pause_ = {};
    }
    const int error = start_connecting(socket_.get(), address.get(), address.size);
    if (error == 0) {
      state_ = State::connecting;
    } else if (is_not_yet(error) && now < share_end_) {
      pause_ = (std::clamp)(2 * pause_, std::chrono::milliseconds(1), longest_pause);
      retry_at_ = (std::min)(now + pause_, share_end_);
    } else {
      try_next(error_message(error));
    }
  }

  // The socket is connected, or has failed, or its time is up.
  void accepted() {
    if (!is_ready(socket_.get(), POLLOUT)) return try_next({});
    const int error = pending_error(socket_.get());
    if (error != 0) return try_next(error_message(error));
    if (options_.unix_socket.empty()) tune_tcp(socket_.get());
    stream_.emplace(std::move(socket_));
    socket_ = {};
    if (!tls_) return greet();
    layer_ = &stream_->use_tls(*tls_);
    state_ = State::securing;
  }

  // Goes on with the TLS handshake; there is no `layer_` left when it is done. False: it begins anew on another
  // connection.
  bool was_secured() {
    try {
      if (layer_->shake_hands()) layer_ = nullptr;
      return true;
    } catch (const TlsRefusal&) {
      throw;
    } catch (const ConnectionError& error) {
      if (was_lost_) throw ConnectionError(error.what() + std::string(" in the TLS handshake") + tls_hint);
    }
    begin_anew();
    return false;
  }

  void greet() {
    connection_ = std::make_unique<Connection>(options_, std::move(*stream_));
    stream_.reset();
    handshake_.begin(*connection_);
    state_ = State::greeting;
  }

  // Goes on with the handshake. False: it begins anew on another connection.
  bool was_greeted() {
    try {
      handshake_.step(*connection_);
      return true;
    } catch (const LostInHandshake& error) {
      if (was_lost_) throw ConnectionError(error.what() + hint_at_loss());
    } catch (const ProtocolError& error) {
      throw ProtocolError(error.what() + hint_at_bytes(error.what()));
    }
    begin_anew();
    return false;
  }

  void begin_anew() {
    was_lost_ = true;
    layer_ = nullptr;
    stream_.reset();
    connection_.reset();
    state_ = State::opening;
  }

  // No reason: its time is up.
  void try_next(const std::string& reason) {
    socket_ = {};
    retry_at_ = {};
    state_ = State::opening;
    ++tried_;
    if (tried_ < addresses_.size()) return;
    book_.skip(tried_);
    if (reason.empty()) throw TimeoutError("cannot connect" + within(share_end_));
    throw ConnectionError("cannot connect: " + reason);
  }

  [[noreturn]] void time_out(Deadline end) const {
    book_.skip(tried_);
    throw TimeoutError("cannot connect" + within(end));
  }

  std::string within(Deadline end) const {
    const auto allowed = std::chrono::ceil<std::chrono::milliseconds>(end - began_);
    return " within " + std::to_string(allowed.count()) + " ms" +
           (allowed >= options_.connect_timeout ? " (connect_timeout)" : "");
  }

  // What people do who see such an error.
  std::string hint_at_loss() const {
    const bool is_silent = options_.unix_socket.empty() && !tls_ && !handshake_.was_answered();
    return is_silent ? "; does this port speak TLS (rediss://)?" : "";
  }
  static std::string hint_at_bytes(const std::string& problem) {
    if (problem.find("got \"H\"") != std::string::npos) return "; is this an HTTP server?";
    return problem.find(R"(got "\x15")") != std::string::npos ? "; does this port speak TLS (rediss://)?" : "";
  }

  const Options& options_;
  AddressBook& book_;
  TlsProvider* const tls_;
  std::vector<SocketAddress> addresses_;
  Handshake handshake_;
  State state_ = State::opening;
  TimePoint began_{};
  std::size_t tried_ = 0;  // addresses that have failed
  Deadline share_end_{};   // of the time for the address
  TimePoint retry_at_{};
  std::chrono::milliseconds pause_{};
  OwnedSocket socket_;            // while it is connected
  std::optional<Stream> stream_;  // while it is made secure
  TlsLayer* layer_ = nullptr;     // of it
  std::unique_ptr<Connection> connection_;
  bool was_lost_ = false;  // a connection was lost in the handshake
};

// Takes a context that its owner has connected.
class BorrowedAttempt : public Attempt {
 public:
  BorrowedAttempt(const Options& options, redisContext* context) : options_(options), context_(context) {}

  // Throws what Stream::borrow() does.
  std::unique_ptr<Connection> step(Deadline) override {
    return std::make_unique<Connection>(options_, Stream::borrow(context_));
  }
  void wait(Deadline) override {}

 private:
  const Options& options_;
  redisContext* const context_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
