// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>

#include "../../version.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "clock.hpp"
#include "failure.hpp"
#include "reads.hpp"
#include "waiter.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

struct LinkState;

enum class CallState : unsigned char {
  created,     // nobody but its own thread knows of it
  queued,      // waits for a connection
  assigned,    // leads a connection, and has not been sent on it yet
  in_flight,   // sent or being sent; its replies are owed
  connecting,  // its thread opens a connection
  answered,    // has its replies or its failure; its thread sleeps, and is woken when the lock is released
  done,        // has its replies or its failure; its thread may leave
};

// Commands of one caller, sent together and answered together. It stands on the stack of its caller, who leaves when it
// is done.
struct Call {
  static constexpr std::size_t max_joining_commands = 16;
  static constexpr std::size_t max_joining_bytes = 8 * 1024;

  Call(const Command* first, std::size_t number, Reply* answers, TimePoint begin, Deadline end,
       Deadline latest) noexcept
      : commands(first),
        count(number),
        replies(answers),
        started(begin),
        is_bounded(end == latest),
        deadline(end),
        limit(latest) {
    for (std::size_t i = 0; i < count; ++i) bytes += commands[i].size();
    is_large = count > max_joining_commands || bytes > max_joining_bytes;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const Command* const commands;
  const std::size_t count;
  Reply* const replies;
  std::size_t bytes = 0;    // of all commands
  bool is_large = false;    // takes a connection for itself instead of joining a batch
  const TimePoint started;  // when it was made
  const bool is_bounded;    // by its caller, whatever it has to wait for
  Deadline deadline;        // later if the call has to connect first
  Deadline limit;           // the deadline is never later than this

  bool is_repeatable() const noexcept {
    return std::all_of(commands, commands + count, [](const Command& command) { return command.repeatable(); });
  }
  // Whether it may have been carried out, and that matters.
  bool has_unknown_outcome() const noexcept {
    return was_sent && std::any_of(commands, commands + count,
                                   [](const Command& command) { return !changes_nothing(command.head()); });
  }
  // Whether it shares no connection while it is under way.
  bool travels_alone() const noexcept { return is_large || is_suspect; }

  // All below belongs to the lock of the pool. Of `waiter` only its own thread reads without the lock.

  CallState state = CallState::created;
  bool is_attended = false;   // its thread waits for it, or is about to look
  bool is_parked = false;     // its thread sleeps, or is about to
  bool was_repeated = false;  // a loss counted against it: the next one is its failure
  bool is_suspect = false;    // the last break may have been its fault: it goes by itself
  bool was_extended = false;  // it only waited in the queue, and got the time to connect
  bool was_sent = false;      // bytes of it may have reached the server, and no answer came
  int spins_left = -1;        // yields before its thread parks; less than 0: not decided
  int overtaken = 0;          // by calls that took a connection past it while it was the first in the queue
  std::size_t received = 0;   // replies
  LinkState* link = nullptr;  // what it was given to; it stays the leader's until its thread has left the link
  Call* previous = nullptr;   // in the queue
  Call* next = nullptr;
  Waiter waiter;
  Failure failure;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
