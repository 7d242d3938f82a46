// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "../../statistics.hpp"
#include "../../version.hpp"
#include "adaptive_spin.hpp"
#include "call.hpp"
#include "failure.hpp"
#include "link.hpp"
#include "queue.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// The threads that have to be woken when the lock of the pool has been released. They need not wait for it.
class Wakes {
 public:
  bool empty() const noexcept { return notified_count_ == 0 && answered_.empty(); }

  void add_notified(Call& call) noexcept {
    if (notified_count_ == notified_.size()) return Waiter::wake(call.waiter.address());
    notified_[notified_count_++] = call.waiter.address();
  }
  void add_answered(Call& call) noexcept { answered_.push_back(call); }

  // Without the lock: first those who have something to do.
  void wake_all() noexcept {
    for (std::size_t i = 0; i < notified_count_; ++i) Waiter::wake(notified_[i]);
    while (!answered_.empty()) {
      Call& call = answered_.front();
      answered_.remove(call);
      const Waiter::Address address = call.waiter.address();
      call.waiter.set_done();
      Waiter::wake(address);
    }
  }

 private:
  std::array<Waiter::Address, 16> notified_{};
  std::size_t notified_count_ = 0;
  Queue answered_;
};

// What an observer is to be told when the lock has been released.
struct PendingEvents {
  unsigned lost = 0;      // connections
  unsigned repeated = 0;  // calls
  Failure reason;         // of the last of them
};

// What is known of why a connection broke.
enum class Cause : unsigned char {
  stale,            // it had rested, and was broken before it was used
  first_in_flight,  // the reply to the first call in flight could not be used
  unknown,
};

// The calls of a pool: those that wait for a connection, and how callers are told what became of theirs. Under the lock
// of the pool.
class Calls {
 public:
  Queue queue;
  TimedYields yields;
  PoolStats stats;
  PendingEvents events;

  void begin(Call& call) noexcept {
    if (!call.was_repeated) ++stats.calls;
    yields.entered();
  }
  void enqueue(Call& call) noexcept {
    begin(call);
    call.state = CallState::queued;
    queue.push_back(call);
  }

  // The call has its replies. The last touch of a call unless it is that of the thread that runs this: its own may
  // leave at once.
  void finish(Call& call) noexcept {
    yields.finished();
    if (call.link && call.link->leader != &call) call.link = nullptr;
    if (call.is_parked) {
      call.state = CallState::answered;
      wakes_.add_answered(call);
    } else {
      call.state = CallState::done;
      call.waiter.set_done();
    }
  }

  // As finish(). `sent`: bytes of it may have reached the server.
  void fail(Call& call, const Failure& failure, bool sent) noexcept {
    call.failure = failure;
    call.was_sent = call.was_sent || sent;
    finish(call);
  }

  void fail_queued(const Failure& failure) noexcept {
    while (!queue.empty()) {
      Call& call = queue.front();
      queue.remove(call);
      ++stats.failed_fast;
      fail(call, failure, false);
    }
  }

  // A call whose connection broke is tried once more if that can do no harm. Where it is known that another call was to
  // blame, this does not count against it; where the cause is not known, it goes by itself.
  void repeat_or_fail(Call& call, const Failure& failure, bool sent, Cause cause, bool was_by_itself) noexcept {
    const bool counts = cause == Cause::unknown;
    const bool is_harmless =
        cause == Cause::stale || ((!sent || call.is_repeatable()) && !(counts && call.was_repeated));
    if (!is_harmless) return fail(call, failure.is_loss() ? failure : fault_of_another(), sent);
    if (sent) {
      ++stats.repeats;
      ++events.repeated;
    }
    if (counts) {
      call.was_repeated = true;
      call.is_suspect = call.is_suspect || (sent && !was_by_itself);
    }
    call.link = nullptr;
    call.received = 0;
    call.was_sent = call.was_sent || sent;
    if (!call.is_attended && call.travels_alone()) {  // its thread will carry it out
      call.state = CallState::created;
      return yields.finished();
    }
    call.state = CallState::queued;
    queue.push_front(call);
  }

  // Its thread should look what there is to do.
  void notify(Call& call) noexcept {
    call.waiter.notify();
    if (call.is_parked) wakes_.add_notified(call);
  }
  void notify_if_parked(Call& call) noexcept {
    if (call.is_parked) notify(call);
  }

  bool has_wakes() const noexcept { return !wakes_.empty(); }
  Wakes take_wakes() noexcept { return std::exchange(wakes_, Wakes()); }
  bool has_events() const noexcept { return events.lost + events.repeated != 0; }
  PendingEvents take_events() noexcept { return std::exchange(events, PendingEvents()); }

 private:
  static Failure fault_of_another() noexcept {
    return Failure::loss("the connection was given up for the reply to another command");
  }

  Wakes wakes_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
