// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "../../detail/process.hpp"
#include "../../observer.hpp"
#include "../../statistics.hpp"
#include "../options.hpp"
#include "adaptive_spin.hpp"
#include "call.hpp"
#include "calls.hpp"
#include "clock.hpp"
#include "connection.hpp"
#include "connector.hpp"
#include "failure.hpp"
#include "hiredis.hpp"
#include "link.hpp"
#include "link_io.hpp"
#include "scheduler_core.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// The connections of a pool in one process, and the calls that want one: the published pattern "leader/followers". No
// thread of its own: one thread with a call does what is to be done, and the others sleep.
//
// A call is `created` -> `queued` -> `in_flight` -> `done`. The thread of a call that finds a free connection becomes
// its leader: it takes along all that are queued and fit, sends them in one write, receives, and hands out the replies.
// On the way a call may be `assigned` (it leads a connection and is not sent yet), `connecting` (its thread opens a
// connection) or `answered` (it is done, and its thread, which sleeps, is about to be woken). When a connection breaks,
// calls go back to `queued`. A leader leaves as soon as its own call is done and nothing more has come: the first whose
// replies are owed, and whose thread waits, is its successor. What is queued then goes with the next call, or,
// where nobody yields, is sent by the leader before it leaves.
//
// SchedulerCore decides all that (next() says what a thread does next), and Matching which call goes over which
// connection, without threads, sockets or time. This class has the lock, the sleeping and the I/O.
//
// Who may touch what: the lock of the pool guards the core, with all calls and links in it. Without the lock a thread
// uses the receiving half of a connection while its call is the link's `leader`, and the sending half while it is the
// one that has set the link's `sending`. It reads the `waiter` of its own call. Lock order: the pool's lock, then that
// of a PortableWaiter. Nobody sleeps, sends or receives with the lock held.
//
// Invariants: (1) A call is touched by nobody once its `waiter` says done, except by its own thread. (2) A link has a
// leader, or a thread that sends, or it is among the free ones, never two of them. (3) While a link is free, the first
// attended call in the queue has been notified, or its thread is awake. (4) The order of `in_flight` is that of the
// replies owed. (5) A waiter that was notified or whose call was finished under the lock is woken when the lock is
// released.
class Scheduler {
 public:
  Scheduler(const Options& options, redisContext* borrowed)
      : options_(options),
        connector_(make_connector(options, borrowed)),
        core_({borrowed ? 1 : options.connections, options.command_timeout, options.busy_poll.count() != 0,
               borrowed != nullptr}) {}

  const std::uint32_t process = larder::detail::process_generation();

  // Sends the call if that is possible without waiting; finish() or abandon() has to follow.
  void start(Call& call) noexcept {
    Lock lock(mutex_);
    Link* const link = core_.start(call);
    if (!link) return unlock(lock);
    if (std::exchange(link->needs_check, false)) {
      lock.unlock();
      const bool is_usable = is_sound(*link, call);
      lock.lock();
      if (!is_usable) {
        link->sending.store(false, std::memory_order_relaxed);
        core_.lost(*link, lost_before_use(), link->has_rested);
        return unlock(lock);
      }
    }
    send(*link, lock);
    unlock(lock);
  }

  // Returns when the call is done: it has its replies, or has failed.
  void finish(Call& call) noexcept {
    Lock lock(mutex_);
    call.is_attended = true;
    for (;;) {
      const Step step = core_.next(call);
      switch (step.action) {
        case Action::leave:
          return unlock(lock);
        case Action::gather:
          if (gather(call, lock)) return;
          break;
        case Action::spin:
          if (spin(call, lock)) return;
          break;
        case Action::sleep:
          if (sleep(call, step.until, lock)) return;
          break;
        case Action::connect:
          connect(call, lock);
          break;
        case Action::advance:
          advance(step, call, lock);
          break;
        case Action::look:
          look(*step.link, call, lock);
          break;
        case Action::send:
          send(*step.link, lock);
          break;
        case Action::exchange:
          exchange(*step.link, call, lock);
          break;
      }
    }
  }

  // Leaves a call that was started.
  void abandon(Call& call) noexcept {
    Lock lock(mutex_);
    core_.abandon(call);
    unlock(lock);
  }

  // No call that comes later goes over a connection that is there now. `reason` is for the observer.
  void retire_connections(const char* reason) noexcept {
    Lock lock(mutex_);
    core_.calls().events.reason = Failure::loss(reason);
    core_.links().retire();
    unlock(lock);
  }

  // Where the server is, for messages.
  const std::string& address() const noexcept { return connector_->address(); }

  PoolStats stats() const noexcept {
    const std::lock_guard<std::mutex> hold(mutex_);
    return core_.stats();
  }
  // Grows with each connection that has gone.
  std::uint64_t generation() const noexcept { return (std::uint64_t{process} << 40) + core_.links().losses(); }

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Link = PoolLink;
  using Step = SchedulerCore<Connection>::Step;

  static constexpr std::chrono::nanoseconds longest_spin{YieldGauge::long_yield};

  void unlock(Lock& lock) noexcept {
    if (core_.calls().has_events()) return unlock_and_tell(lock);
    if (!core_.calls().has_wakes()) return lock.unlock();
    Wakes wakes = core_.calls().take_wakes();
    lock.unlock();
    wakes.wake_all();
  }
  void unlock_and_tell(Lock& lock) noexcept {
    const auto events = core_.calls().take_events();
    unlock(lock);
    if (!options_.observer) return;
    for (unsigned i = 0; i < events.lost; ++i) options_.observer->connection(address(), false, events.reason.text());
    for (unsigned i = 0; i < events.repeated; ++i) options_.observer->repeated(events.reason.text());
  }

  static Failure lost_before_use() noexcept { return Failure::loss("the connection was lost before it was used"); }

  // What came of using a connection.
  struct Outcome {
    Failure failure;
    bool in_time = true;
    bool is_stale = false;
  };

  // Without the lock, unless the connection broke while it rested.
  template <class Use>
  Outcome use(Link& link, const Call& call, Lock& lock, Use use) noexcept {
    const bool needs_check = std::exchange(link.needs_check, false);
    unlock(lock);
    Outcome outcome;
    try {
      if (needs_check && !is_sound(link, call)) {
        outcome.is_stale = link.has_rested;
        outcome.failure = lost_before_use();
      } else {
        outcome.in_time = use();
      }
    } catch (...) {
      outcome.failure = Failure::current();
    }
    return outcome;
  }

  void advance(const Step& step, Call& call, Lock& lock) noexcept {
    Link& link = *step.link;
    bool sends = step.sends;
    const Deadline deadline = call.deadline;
    const OwnReplies own{call.replies + call.received, step.own};
    const Outcome outcome = use(link, call, lock, [&] {  //
      return send_and_receive(link, deadline, sends, own, core_.yields());
    });
    if (sends) link.sending.store(false, std::memory_order_release);
    received(link, call, outcome, lock);
  }

  void look(Link& link, Call& call, Lock& lock) noexcept {
    const Outcome outcome = use(link, call, lock, [&] {
      if (link.connection->receive_now(Clock::now())) collect(link, {});
      return true;
    });
    received(link, call, outcome, lock);
  }

  void received(Link& link, Call& call, const Outcome& outcome, Lock& lock) noexcept {
    lock.lock();
    if (outcome.failure) {
      core_.lost(link, outcome.failure, outcome.is_stale);
    } else {
      core_.received(link, call, outcome.in_time);
    }
  }

  void exchange(Link& link, Call& call, Lock& lock) noexcept {
    const Deadline deadline = call.deadline;
    const Outcome outcome = use(link, call, lock, [&] {
      return link.connection->exchange(call.commands, call.count, call.replies, deadline, &core_.yields());
    });
    link.sending.store(false, std::memory_order_release);
    lock.lock();
    if (outcome.failure) {
      core_.lost(link, outcome.failure, outcome.is_stale);
    } else {
      core_.exchanged(link, call, outcome.in_time);
    }
  }

  // Sends at once; those who are to be woken wait until that is done.
  void send(Link& link, Lock& lock) noexcept {
    lock.unlock();
    link.connection->send_now();
    link.sent_at.store(since_epoch(Clock::now()), std::memory_order_relaxed);
    lock.lock();
    core_.sent(link);
  }

  void connect(Call& call, Lock& lock) noexcept {
    unlock(lock);
    OpenedLink opened = open_link(*connector_, options_, call);
    if (options_.observer) options_.observer->connection(address(), !!opened.link, opened.failure.text());
    lock.lock();
    call.limit = opened.limit;
    if (opened.link) {
      core_.connected(call, std::move(opened.link));
    } else {
      core_.connect_failed(call, opened.failure, opened.was_short);
    }
  }

  // The ways to wait. Each returns true, and without the lock, if the call is done.

  bool gather(Call& call, Lock& lock) noexcept {
    unlock(lock);
    TimePoint now = call.started;
    core_.yields().yield(now);
    if (call.waiter.is_done()) return true;
    lock.lock();
    return false;
  }

  bool spin(Call& call, Lock& lock) noexcept {
    unlock(lock);
    TimePoint now = Clock::now();
    const Deadline end = now + longest_spin;  // a yield may take a time slice without being called long by the gauge
    bool may_go_on = true;
    do {
      may_go_on = core_.yields().yield(now) && now < end;
      if (call.waiter.is_done()) {
        core_.adaptive_spin().record(true);
        return true;
      }
    } while (may_go_on && --call.spins_left != 0 && !call.waiter.is_notified() && core_.links().has_batches());
    if (!may_go_on) {
      call.spins_left = 0;
    } else if (call.spins_left == 0) {
      core_.adaptive_spin().record(false);
    }
    lock.lock();
    call.waiter.clear();
    return false;
  }

  bool sleep(Call& call, Deadline until, Lock& lock) noexcept {
    unlock(lock);
    call.waiter.sleep_until(until);
    if (call.waiter.is_done()) return true;
    lock.lock();
    if (core_.woke(call)) return false;
    call.waiter.clear();
    unlock(lock);
    while (!call.waiter.is_done()) call.waiter.sleep_until(Clock::now() + std::chrono::hours(1));
    return true;
  }

  const Options& options_;
  const std::unique_ptr<Connector> connector_;

  mutable std::mutex mutex_;
  SchedulerCore<Connection> core_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
