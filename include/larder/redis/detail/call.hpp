// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "connection.hpp"
#include "failure.hpp"
#include "hiredis.hpp"
#include "socket.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

struct Link;

/// Where the thread of a call sleeps.
struct Bed {
  std::mutex mutex;  // held to wake it, and by itself unless it sleeps; taken after the pool's lock
  std::condition_variable wake;
};

/// One call of Pool::run(). It stands on the stack of its caller, who leaves when it is done.
struct Call {
  Call(const Command* first, std::size_t number, Reply* answers, const Options& options) noexcept
      : commands(first),
        count(number),
        replies(answers),
        alone(number != 1 || first->size() > Connection::max_appended) {
    deadline = std::chrono::steady_clock::now() + options.command_timeout;
    limit = deadline + options.connect_timeout;
  }

  const Command* const commands;
  const std::size_t count;
  Reply* const replies;
  const bool alone;  // takes a connection for itself instead of joining a batch

  bool is_repeatable() const noexcept {
    return std::all_of(commands, commands + count, [](const Command& command) { return command.repeatable(); });
  }

  Deadline deadline;  // later if the call has to connect first, but
  Deadline limit;     // never later than this

  // All below belongs to the pool's lock, except that `done` and `called` may be read without it.

  Call* previous = nullptr;  // in the queue
  Call* next = nullptr;
  bool queued = false;   // to be carried, or to be woken
  Link* link = nullptr;  // what it has been given to, until it is done
  bool retried = false;
  bool sent = false;                // it failed, and may have been carried out all the same
  int yields = -1;                  // that its thread may still spend before it parks; less than 0: not decided
  Bed* bed = nullptr;               // where its thread sleeps, if it does,
  bool answered = false;            // and is about to be woken, because the call is done
  std::atomic<bool> called{false};  // its thread should look again
  std::atomic<bool> done{false};
  Failure failure;
};

/// Calls that wait for a connection, the oldest first.
class Queue {
 public:
  bool empty() const noexcept { return !first_; }
  Call& front() const noexcept { return *first_; }
  bool holds_only(const Call& call) const noexcept { return first_ == &call && last_ == &call; }

  void push_back(Call& call) noexcept { insert(call, last_, nullptr); }
  void push_front(Call& call) noexcept { insert(call, nullptr, first_); }
  void remove(Call& call) noexcept {
    (call.previous ? call.previous->next : first_) = call.next;
    (call.next ? call.next->previous : last_) = call.previous;
    call.queued = false;
  }

 private:
  void insert(Call& call, Call* previous, Call* next) noexcept {
    call.previous = previous;
    call.next = next;
    (previous ? previous->next : first_) = &call;
    (next ? next->previous : last_) = &call;
    call.queued = true;
  }

  Call* first_ = nullptr;
  Call* last_ = nullptr;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
