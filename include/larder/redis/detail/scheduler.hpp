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
#include "../../error.hpp"
#include "../../observer.hpp"
#include "../../statistics.hpp"
#include "../options.hpp"
#include "adaptive_spin.hpp"
#include "call.hpp"
#include "calls.hpp"
#include "connection.hpp"
#include "connector.hpp"
#include "failure.hpp"
#include "hiredis.hpp"
#include "link.hpp"
#include "scheduler_core.hpp"
#include "socket.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// The connections of a pool in one process, and the calls that want one: the published pattern "leader/followers". No
// thread of its own: whoever has a call does what is to be done, and the others sleep.
//
// A call is `created` -> `queued` -> `in_flight` -> `done`. The thread of a call that finds a free connection becomes
// its leader: it takes along all that are queued and fit, sends them in one write, receives, and hands out the replies.
// On the way a call may be `assigned` (it leads a connection and is not sent yet), `connecting` (its thread opens a
// connection) or `answered` (it is done, and its thread, which sleeps, is about to be woken). When a connection breaks,
// calls go back to `queued`. A leader leaves as soon as its own call is done and nothing more has come: the first whose
// replies are owed, and whose thread waits, is its successor. What is queued then goes with whoever comes first, or,
// where nobody yields, is sent by the leader before it leaves.
//
// SchedulerCore decides all that (next() says what a thread does next, and is told what came of it); it has no threads,
// sockets or time, and is tested so. This class has the lock, the sleeping and the I/O.
//
// Who may touch what: the lock of the pool guards the core, with all calls and links in it. Without the lock a thread
// uses the receiving half of a connection while its call is the link's `leader`, and the sending half while it is the
// one that has set the link's `sending`. It reads the `waiter` of its own call. Lock order: the pool's lock, then that
// of a PortableWaiter. Nobody sleeps, sends or receives with the lock held.
//
// Invariants: (1) A call is touched by nobody once its `waiter` says done, except by its own thread. (2) A link has a
// leader, or a thread that sends, or it is among the free ones, never two of them. (3) While a link is free, the first
// attended call in the queue has been told, or its thread is awake. (4) The order of `in_flight` is that of the replies
// owed. (5) A waiter that was told or whose call was finished under the lock is woken when the lock is released.
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
  using Clock = std::chrono::steady_clock;
  using Link = detail::Link<Connection>;
  using Step = SchedulerCore<Connection>::Step;

  // The next replies of a connection that belong to its leader: they need not go through the hands of others.
  struct Own {
    Reply* first = nullptr;
    std::size_t count = 0;
  };

  static constexpr std::chrono::nanoseconds longest_spin{YieldGauge::long_yield};

  void unlock(Lock& lock) noexcept {
    if (core_.calls().has_news()) return unlock_and_tell(lock);
    if (!core_.calls().has_wakes()) return lock.unlock();
    Wakes wakes = core_.calls().take_wakes();
    lock.unlock();
    wakes.wake_all();
  }
  void unlock_and_tell(Lock& lock) noexcept {
    const auto news = core_.calls().take_news();
    unlock(lock);
    if (!options_.observer) return;
    for (unsigned i = 0; i < news.lost; ++i) options_.observer->connection(address(), false, news.reason.text());
    for (unsigned i = 0; i < news.repeated; ++i) options_.observer->repeated(news.reason.text());
  }

  static Failure lost_before_use() noexcept { return Failure::loss("the connection was lost before it was used"); }

  void advance(const Step& step, Call& call, Lock& lock) noexcept {
    Link& link = *step.link;
    bool sends = step.sends;
    const Deadline deadline = call.deadline;
    const Own own{call.replies + call.received, step.own};
    const bool needs_check = std::exchange(link.needs_check, false);
    unlock(lock);
    Failure failure;
    bool in_time = true, is_stale = false;
    try {
      if (needs_check && !is_sound(link, call)) {
        is_stale = link.has_rested;
        failure = lost_before_use();
      } else {
        in_time = send_and_receive(link, deadline, sends, own);
      }
    } catch (...) {
      failure = Failure::current();
    }
    if (sends) link.sending.store(false, std::memory_order_release);
    lock.lock();
    if (failure) {
      core_.lost(link, failure, is_stale);
    } else {
      core_.received(link, call, in_time);
    }
  }

  // `sends`: the thread has the sending half, and gives it back as soon as all is sent.
  bool send_and_receive(Link& link, Deadline deadline, bool& sends, const Own& own) {
    if (sends) {
      const auto received = [&] {
        collect(link, own);
        if (link.received.size() == InFlight::capacity) throw ProtocolError("the server sent replies nobody asked for");
      };
      if (!link.connection->flush(deadline, received)) return false;
    }
    const Deadline now = Clock::now();
    if (std::exchange(sends, false)) {
      link.sent_at.store(nanoseconds(now), std::memory_order_relaxed);
      link.sending.store(false, std::memory_order_release);
    }
    const bool in_time = link.connection->receive(deadline, now, &core_.yields());
    collect(link, own);
    return in_time;
  }

  static void collect(Link& link, const Own& own) {
    while (link.in_place < own.count) {
      Reply* const reply = link.connection->next();
      if (!reply) return;
      own.first[link.in_place++] = std::move(*reply);
    }
    while (link.received.size() < InFlight::capacity) {
      Reply* const reply = link.connection->next();
      if (!reply) break;
      link.received.push_back(std::move(*reply));
    }
  }

  void look(Link& link, Call& call, Lock& lock) noexcept {
    unlock(lock);
    Failure failure;
    try {
      if (link.connection->receive_now(Clock::now())) collect(link, {});
    } catch (...) {
      failure = Failure::current();
    }
    lock.lock();
    if (failure) {
      core_.lost(link, failure, false);
    } else {
      core_.received(link, call, true);
    }
  }

  // Sends at once; those who are to be woken wait until that is done.
  void send(Link& link, Lock& lock) noexcept {
    lock.unlock();
    link.connection->send_now();
    link.sent_at.store(nanoseconds(Clock::now()), std::memory_order_relaxed);
    lock.lock();
    core_.sent(link);
  }

  void exchange(Link& link, Call& call, Lock& lock) noexcept {
    const Deadline deadline = call.deadline;
    const bool needs_check = std::exchange(link.needs_check, false);
    unlock(lock);
    Failure failure;
    bool in_time = true, is_stale = false;
    try {
      if (needs_check && !is_sound(link, call)) {
        is_stale = link.has_rested;
        failure = lost_before_use();
      } else {
        in_time = link.connection->exchange(call.commands, call.count, call.replies, deadline, &core_.yields());
      }
    } catch (...) {
      failure = Failure::current();
    }
    link.sending.store(false, std::memory_order_release);
    lock.lock();
    if (failure) {
      core_.lost(link, failure, is_stale);
    } else {
      core_.exchanged(link, call, in_time);
    }
  }

  // A call that has been under way for a while does not know what time it is.
  static bool is_sound(const Link& link, const Call& call) noexcept {
    const Deadline now = call.was_repeated ? Clock::now() : call.started;
    const bool is_old = link.has_rested && link.connection->is_old(now);
    return !link.is_wrong_node && !is_old && link.connection->is_sound(now);
  }

  static std::unique_ptr<Connector> make_connector(const Options& options, redisContext* borrowed) {
    if (borrowed) return std::make_unique<BorrowedConnector>(options, borrowed);
    return std::make_unique<ServerConnector>(options);
  }

  // The time that it takes to look up a name is not counted, unless the caller has set a deadline.
  void connect(Call& call, Lock& lock) noexcept {
    unlock(lock);
    const Deadline began = Clock::now();
    Deadline limit = call.limit;
    bool was_short = false;
    std::unique_ptr<Link> link;
    Failure failure;
    try {
      const auto attempt = connector_->begin();
      const Deadline now = Clock::now();
      if (!call.is_bounded) limit += now - began;
      was_short = limit < now + options_.connect_timeout;
      link = std::make_unique<Link>(attempt->finish((std::min)(now + options_.connect_timeout, limit)));
    } catch (...) {
      failure = Failure::current().while_connecting();
    }
    if (options_.observer) options_.observer->connection(address(), !!link, failure.text());
    lock.lock();
    call.limit = limit;
    if (link) {
      core_.connected(call, std::move(link));
    } else {
      core_.connect_failed(call, failure, was_short);
    }
  }

  // The ways to wait. Each returns true, and without the lock, if the call is done.

  bool gather(Call& call, Lock& lock) noexcept {
    unlock(lock);
    Deadline now = call.started;
    core_.yields().yield(now);
    if (call.waiter.is_done()) return true;
    lock.lock();
    return false;
  }

  bool spin(Call& call, Lock& lock) noexcept {
    unlock(lock);
    Deadline now = Clock::now();
    const Deadline end = now + longest_spin;  // a yield may take a time slice without being called long by the gauge
    bool may_go_on = true;
    do {
      may_go_on = core_.yields().yield(now) && now < end;
      if (call.waiter.is_done()) {
        core_.adaptive_spin().record(true);
        return true;
      }
    } while (may_go_on && --call.spins_left != 0 && !call.waiter.is_told() && core_.links().has_batches());
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

  static std::int64_t nanoseconds(Deadline time) noexcept {
    return std::chrono::nanoseconds(time.time_since_epoch()).count();
  }

  const Options& options_;
  const std::unique_ptr<Connector> connector_;

  mutable std::mutex mutex_;
  SchedulerCore<Connection> core_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
