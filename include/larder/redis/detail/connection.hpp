// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include "../../error.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "hiredis.hpp"
#include "patience.hpp"
#include "pipeline.hpp"
#include "reply_parser.hpp"
#include "socket.hpp"
#include "stream.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// A connection to one server, and all that is sent and received over it. Not thread-safe.
//
// When a function throws, or a deadline has come, and replies are still owed, the connection is of no further use:
// mark_unusable() and destroy it.
class Connection {
 public:
  Connection(const Options& options, Stream stream)
      : stream_(std::move(stream)),
        parser_(options.max_reply_bytes),
        busy_poll_(options.busy_poll),
        in_(new char[buffer_size]) {}

  // Whether nothing has happened to it while nothing was sent, and no answer said that it is the wrong server to ask.
  bool is_sound() const noexcept { return parser_.is_empty() && !wrong_node_ && stream_.is_quiet(); }

  void mark_unusable() noexcept { stream_.mark_unusable(); }

  // A batch of short commands: append(), then advance() and next() until no reply is owed.

  static constexpr std::size_t max_batch = Pipeline::max_batch;  // commands
  static constexpr std::size_t max_appended = 8 * 1024;          // bytes of a command

  bool has_room_for(const Command& command) const noexcept { return pipeline_.has_room_for(command); }

  // Adds a command there is room for; allocates nothing.
  void append(const Command& command) { pipeline_.append(command); }

  // Sends what was appended, then receives some of the replies. False if the deadline came first; it can be called
  // again.
  bool advance(Deadline deadline) { return flush(deadline) && receive(deadline); }

  // The next reply, if it is there, else null. It stays until the next call, and can be moved from.
  Reply* next() {
    Reply* const reply = parser_.next();
    if (!reply) return nullptr;
    pipeline_.answer(*reply);
    if (!reply->failure().empty()) {
      const std::string_view code = reply->failure().substr(0, reply->failure().find(' '));
      if (code == "READONLY" || code == "MASTERDOWN") wrong_node_ = true;
    }
    return reply;
  }

  // How many replies are to come.
  std::size_t owed() const noexcept { return pipeline_.owed(); }

  // Whether any byte of the commands whose replies are owed may have reached the server.
  bool has_sent() const noexcept { return pipeline_.has_sent(); }

  // The server serves us, whatever it said before.
  void accept_node() noexcept { wrong_node_ = false; }

  // Runs commands of any number and size; false if the deadline came first.
  bool exchange(const Command* commands, std::size_t count, Reply* replies, Deadline deadline) {
    for (const Command* command = commands; command != commands + count; ++command) {
      if (!pipeline_.fits(*command) && !flush(deadline)) return false;
      if (pipeline_.fits(*command)) {
        pipeline_.append(*command);
      } else {  // not worth a copy
        pipeline_.expect(*command);
        for (const auto part : {command->head(), command->value(), command->tail()}) {
          if (send(part, deadline) != part.size()) return false;
        }
      }
    }
    if (!flush(deadline)) return false;
    for (std::size_t i = 0; i < count;) {
      if (Reply* reply = next()) {
        replies[i++] = std::move(*reply);
      } else if (!receive(deadline)) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr std::size_t buffer_size = 64 * 1024;

  // Sends as much of `bytes` as the deadline allows, and returns how much that was. Meanwhile it receives, because the
  // server may wait for its replies to be taken before it takes more commands.
  std::size_t send(std::string_view bytes, Deadline deadline) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const std::size_t now = stream_.send(bytes.data() + sent, bytes.size() - sent);
      sent += now;
      if (now != 0) {
        pipeline_.note_sent();
        continue;
      }
      const short ready = stream_.wait(POLLIN | POLLOUT, deadline);
      if (ready == 0) break;
      if ((ready & POLLIN) != 0) receive_now();
    }
    return sent;
  }

  bool flush(Deadline deadline) { return pipeline_.flushed(send(pipeline_.unsent(), deadline)); }

  bool receive(Deadline deadline) {
    if (busy_poll_.count() != 0 && patience_.is_worth_a_try()) {
      const Deadline now = std::chrono::steady_clock::now();
      if (now >= deadline) return false;  // however much the server sends
      const Deadline end = (std::min)(deadline, now + busy_poll_);
      do {
        std::this_thread::yield();  // the server may want this core
        if (receive_now()) {
          patience_.paid(true);
          return true;
        }
      } while (std::chrono::steady_clock::now() < end);
      patience_.paid(false);
    }
    do {
      if (stream_.wait(POLLIN, deadline) == 0) return false;
    } while (!receive_now());
    return true;
  }

  bool receive_now() {
    const std::size_t size = stream_.receive(in_.get(), buffer_size);
    if (size == 0) return false;
    parser_.feed(in_.get(), size);
    if (parser_.holds_more_than(owed()))
      throw ProtocolError("the server sent more than max_reply_bytes for each reply");
    return true;
  }

  Stream stream_;
  ReplyParser parser_;
  Pipeline pipeline_;
  std::chrono::microseconds busy_poll_;
  Patience patience_;
  std::unique_ptr<char[]> in_;
  bool wrong_node_ = false;  // as the server says
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
