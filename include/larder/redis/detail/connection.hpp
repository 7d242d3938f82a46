// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include "../../error.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "adaptive_spin.hpp"
#include "clock.hpp"
#include "hiredis.hpp"
#include "pipeline.hpp"
#include "reply_parser.hpp"
#include "socket.hpp"
#include "stream.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// A connection to one server, and all that is sent and received over it. It has two halves, for sending and for
// receiving, which two threads may use at the same time; each half is not thread-safe.
//
// When a function throws, or a deadline has come, and replies are still owed, the connection is of no further use:
// mark_unusable() and destroy it.
class Connection {
 public:
  static constexpr std::size_t buffer_size = Pipeline::buffer_size;  // bytes of commands that are sent at once

  Connection(const Options& options, Stream stream)
      : stream_(std::move(stream)),
        parser_(options.max_reply_bytes),
        busy_poll_(options.busy_poll),
        block_for_(stream_.block_in_receive(options.command_timeout / 2) ? options.command_timeout / 2
                                                                         : std::chrono::milliseconds(0)),
        lifetime_(options.connection_lifetime),
        in_(new char[buffer_size]) {}

  // Whether nothing has happened to it while nothing was sent. The kernel is asked only if it has rested.
  bool is_sound(TimePoint now) const noexcept {
    const bool has_rested = !stream_.is_owned() || now - used() > longest_rest;
    return parser_.is_empty() && (!has_rested || stream_.is_quiet());
  }

  // When the last bytes came, or it was opened.
  TimePoint used() const noexcept { return used_.load(std::memory_order_relaxed); }
  // From now on it counts as one that has rested.
  void doubt() noexcept { used_.store({}, std::memory_order_relaxed); }

  // Whether it is older than connection_lifetime.
  bool is_old(TimePoint now) const noexcept { return lifetime_.count() != 0 && now - opened_ >= lifetime_; }

  void mark_unusable() noexcept { stream_.mark_unusable(); }

  // The half for sending.

  // Whether commands of this many bytes can be added to what is to be sent.
  bool has_room_for(std::size_t bytes) const noexcept { return pipeline_.has_room_for(bytes); }
  // Adds a command there is room for; allocates nothing.
  void append(const Command& command) noexcept { pipeline_.append(command); }
  bool has_unsent() const noexcept { return !pipeline_.unsent().empty(); }

  // No reply is owed: what is appended next has not been sent.
  void begin_batch() noexcept { has_sent_ = false; }
  // Whether bytes of the commands since begin_batch() may have reached the server.
  bool has_sent() const noexcept { return has_sent_; }

  // Sends what goes at once. An error is left to the receiving half, which meets it again.
  void send_now() noexcept {
    try {
      while (has_unsent() && send_some() != 0) {
      }
    } catch (const ConnectionError&) {
    }
  }

  // The half for receiving.

  // Waits for bytes, from `now` on; false if the deadline came first. Yields for a moment before it sleeps, if that is
  // cheap; without `yields` it does not.
  bool receive(Deadline deadline, TimePoint now, TimedYields* yields) {
    if (now >= deadline) {  // however much the server sends
      receive_now(now);
      return false;
    }
    if (yields && busy_poll_.count() != 0 && yields->are_cheap() && spin_.should_try()) {
      const Deadline end = (std::min)(deadline, now + busy_poll_);
      bool are_cheap = true;
      do {
        are_cheap = yields->yield(now);  // the server may want this core
        if (receive_now(now)) {
          spin_.record(true);
          return true;
        }
      } while (are_cheap && now < end);
      if (are_cheap) spin_.record(false);
    }
    if (block_for_.count() != 0 && deadline - now > block_for_ &&
        take_in(stream_.receive_blocking(room(), buffer_size))) {
      used_.store(Clock::now(), std::memory_order_relaxed);
      return true;
    }
    do {
      if (stream_.wait(POLLIN, deadline) == 0) return false;
    } while (!receive_now(Clock::now()));
    return true;
  }

  // Receives what is there; false if that is nothing.
  bool receive_now(TimePoint now) {
    if (!take_in(stream_.receive(room(), buffer_size))) return false;
    used_.store(now, std::memory_order_relaxed);
    return true;
  }

  // Waits for bytes or, while commands are unsent, until more can be sent.
  void wait(Deadline deadline) { stream_.wait(has_unsent() ? POLLIN | POLLOUT : POLLIN, deadline); }

  // The next reply, if it is there, else null. It stays until the next call, and can be moved from.
  Reply* next() { return parser_.next(); }

  // Both halves.

  // Sends what was appended, and receives meanwhile, because the server may wait for its replies to be taken before it
  // takes more commands: then it calls `received`. False if the deadline came first; it can be called again.
  template <class Received>
  bool flush(Deadline deadline, Received received) {
    while (has_unsent()) {
      if (send_some() == 0 && !wait_to_send(deadline, received)) return false;
    }
    return true;
  }

  // Runs commands of any number and size, while no reply is owed; false if the deadline came first.
  bool exchange(const Command* commands, std::size_t count, Reply* replies, Deadline deadline, TimedYields* yields) {
    const auto received = [&] {
      if (parser_.holds_more_than(count)) {
        throw ProtocolError("the server sent more than max_reply_bytes for each reply");
      }
    };
    for (const Command* command = commands; command != commands + count; ++command) {
      if (!has_room_for(command->size()) && !flush(deadline, received)) return false;
      if (has_room_for(command->size())) {
        append(*command);
      } else {  // not worth a copy
        for (const auto part : {command->head(), command->value(), command->tail()}) {
          if (!send_all(part, deadline, received)) return false;
        }
      }
    }
    if (!flush(deadline, received)) return false;
    for (std::size_t i = 0; i < count;) {
      if (Reply* reply = next()) {
        const auto expected = commands[i].answer();
        if (expected && !reply->fits(*expected)) throw ProtocolError("the server's answer does not fit the command");
        replies[i++] = std::move(*reply);
      } else if (!receive(deadline, Clock::now(), yields)) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr std::chrono::microseconds longest_rest{5};  // longer than a caller takes who calls in a loop

  std::size_t send_some() {
    const std::string_view bytes = pipeline_.unsent();
    const std::size_t sent = stream_.send(bytes.data(), bytes.size());
    has_sent_ = has_sent_ || sent != 0;
    pipeline_.flushed(sent);
    return sent;
  }

  template <class Received>
  bool send_all(std::string_view bytes, Deadline deadline, Received received) {
    while (!bytes.empty()) {
      const std::size_t sent = stream_.send(bytes.data(), bytes.size());
      has_sent_ = has_sent_ || sent != 0;
      bytes.remove_prefix(sent);
      if (sent == 0 && !wait_to_send(deadline, received)) return false;
    }
    return true;
  }

  template <class Received>
  bool wait_to_send(Deadline deadline, Received received) {
    const short ready = stream_.wait(POLLIN | POLLOUT, deadline);
    if (ready == 0) return false;
    if ((ready & POLLIN) != 0 && receive_now(Clock::now())) received();
    return true;
  }

  char* room() {
    parser_.keep();
    return in_.get();
  }

  bool take_in(std::size_t size) {
    if (size != 0) parser_.feed(in_.get(), size);
    return size != 0;
  }

  Stream stream_;
  ReplyParser parser_;
  Pipeline pipeline_;
  std::chrono::microseconds busy_poll_;
  std::chrono::milliseconds block_for_;  // how long a receive may sleep by itself; 0: it cannot
  AdaptiveSpin spin_;
  std::chrono::milliseconds lifetime_;
  TimePoint opened_ = Clock::now();
  std::unique_ptr<char[]> in_;
  std::atomic<TimePoint> used_{Clock::now()};
  bool has_sent_ = false;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
