// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "call.hpp"
#include "connection.hpp"
#include "connector.hpp"
#include "failure.hpp"
#include "hiredis.hpp"
#include "patience.hpp"
#include "socket.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

/// A connection, and the calls that it carries.
struct Link {
  explicit Link(std::unique_ptr<Connection> made) : connection(std::move(made)) {
    carried.reserve(Connection::max_batch);
    arrived.reserve(Connection::max_batch);
  }

  const std::unique_ptr<Connection> connection;
  Call* leader = nullptr;       // whose thread sends and receives; none: idle
  bool has_rested = false;      // it has been idle
  std::vector<Call*> carried;   // a batch, in the order of its replies; null for a caller who has left;
  std::ptrdiff_t answered = 0;  // of which so many are done, and not to be looked at,
  std::size_t awaited = 0;      // and for so many somebody waits
  std::vector<Reply> arrived;   // replies to be handed out
};

/// The connections of a pool in one process, and the calls that wait for one.
///
/// Whoever finds an idle connection leads it: sends all the calls that wait, as one batch, and hands out the replies. A
/// leader whose time is up passes the lead to a caller who still waits.
class Switchboard {
 public:
  Switchboard(const Options& options, redisContext* borrowed)
      : options_(options), borrowed_(borrowed), connector_(options, borrowed) {
    links_.reserve(max_links());
    idle_.reserve(max_links());
  }

  const int process = process_id();

  /// Returns when the call is done: it has its replies, or has failed.
  void perform(Call& call) noexcept {
    Lock lock(mutex_);
    waiting_.push_back(call);
    if (call.alone || links_.empty()) dispatch();
    if (crowd_ > 1) {  // those who were answered together are about to call again
      unlock(lock);
      std::this_thread::yield();
      if (call.done.load(std::memory_order_acquire)) return;
      lock.lock();
    }
    while (!call.done.load(std::memory_order_acquire)) {
      if (Link* link = claim(call)) {
        lead(*link, call, lock);
      } else if (is_patient(call)) {
        spin(call, lock);
      } else if (call.queued && may_connect()) {
        connect(call, lock);
      } else if (!park(call, lock)) {
        give_up(call);
      }
    }
    if (lock.owns_lock()) unlock(lock);
  }

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Clock = std::chrono::steady_clock;

  static constexpr int yields = 20;  // before a thread parks
  static constexpr std::chrono::milliseconds first_delay{50};
  static constexpr std::chrono::milliseconds longest_delay{1000};

  // Releases the lock, then wakes the threads whose calls were done meanwhile: they need not wait for it.
  void unlock(Lock& lock) noexcept {
    Queue answered = std::exchange(answered_, Queue());
    lock.unlock();
    while (!answered.empty()) {
      Call& call = answered.front();
      answered.remove(call);
      Bed& bed = *call.bed;
      const std::lock_guard<std::mutex> hold(bed.mutex);
      call.done.store(true, std::memory_order_release);
      bed.wake.notify_one();
    }
  }

  std::size_t max_links() const noexcept { return borrowed_ ? 1 : options_.connections; }

  // The connection that the call is to lead, if there is one. While another batch is under way it is better to wait a
  // moment for the next one than to go alone.
  Link* claim(Call& call) noexcept {
    if (call.link) return call.link->leader == &call ? call.link : nullptr;
    return idle_.empty() || is_patient(call) ? nullptr : take_idle(call);
  }

  bool is_patient(Call& call) noexcept {
    if (batches_ == 0 || call.alone || options_.busy_poll.count() == 0) return false;
    if (call.yields < 0) call.yields = patience_.is_worth_a_try() ? yields : 0;
    return call.yields != 0;
  }

  Link* take_idle(Call& leader) noexcept {
    Link* link = idle_.back();
    idle_.pop_back();
    link->leader = &leader;
    return link;
  }

  void lead(Link& link, Call& call, Lock& lock) noexcept {
    const bool resumes = !link.carried.empty();
    if (!resumes && !call.link) {  // whoever leads carries its own call first, and so has a reply to wait for
      if (call.alone || waiting_.holds_only(call)) {
        assign(link, call);
      } else {
        waiting_.remove(call);
        waiting_.push_front(call);
      }
    }
    const bool alone = !resumes && call.link == &link;
    if (!resumes && !alone) load(link);
    dispatch();  // the first call that waits now may be one that goes alone
    crowd_ = (std::max)(link.carried.size(), crowd_ / 2);

    Failure failure;
    bool in_time = true, is_stale = false;
    if (!call.alone) ++batches_;
    unlock(lock);
    try {
      const bool is_sound = resumes || link.connection->is_sound();
      is_stale = !is_sound && link.has_rested;
      if (!is_sound) throw ConnectionError("the connection was lost before it was used");
      if (alone) {
        in_time = link.connection->exchange(call.commands, call.count, call.replies, call.deadline);
        lock.lock();
        if (in_time) finish(call);
      } else {
        while (in_time && !lock.owns_lock()) {
          in_time = receive(link, call.deadline);
          lock.lock();
          deliver(link);
          if (link.awaited != 0 && in_time) unlock(lock);
        }
      }
    } catch (...) {
      failure = Failure::current();
      if (!lock.owns_lock()) lock.lock();
      deliver(link);
    }
    if (failure) {
      const bool sent = link.connection->has_sent();
      for (auto place = link.carried.end(); place != link.carried.begin() + link.answered;) {
        if (Call* carried = *--place) retry_or_fail(*carried, failure, sent, is_stale);
      }
      if (alone && !call.done) retry_or_fail(call, failure, sent, is_stale);
      drop(link);
    } else if (in_time) {
      release(link);
    } else {
      if (!call.done) give_up(call);
      pass_on(link);
    }
    if (!call.alone) --batches_;
    dispatch();
  }

  // Gives the link to one waiting call.
  void assign(Link& link, Call& call) noexcept {
    waiting_.remove(call);
    call.link = &link;
  }

  // Gives the link as many of the waiting calls as it has room for.
  void load(Link& link) {
    while (!waiting_.empty()) {
      Call& call = waiting_.front();
      if (call.alone || !link.connection->has_room_for(*call.commands)) break;
      assign(link, call);
      link.connection->append(*call.commands);
      link.carried.push_back(&call);
      ++link.awaited;
    }
  }

  // Without the lock.
  static bool receive(Link& link, Deadline deadline) {
    const bool in_time = link.connection->advance(deadline);
    while (Reply* reply = link.connection->next()) link.arrived.push_back(std::move(*reply));
    return in_time;
  }

  void deliver(Link& link) noexcept {
    for (Reply& reply : link.arrived) {
      Call* call = link.carried[static_cast<std::size_t>(link.answered++)];
      if (!call) continue;
      *call->replies = std::move(reply);
      --link.awaited;
      finish(*call);
    }
    link.arrived.clear();
    if (link.carried.begin() + link.answered == link.carried.end()) {
      link.carried.clear();
      link.answered = 0;
    }
  }

  // The last touch of a call, whose thread may leave at once unless it sleeps.
  void finish(Call& call) noexcept {
    if (call.bed) {
      call.answered = true;
      answered_.push_back(call);
    } else {
      call.done.store(true, std::memory_order_release);
    }
  }

  void fail(Call& call, const Failure& failure, bool sent) noexcept {
    call.failure = failure;
    call.sent = sent;
    finish(call);
  }

  // A call whose connection broke is tried once more if that can do no harm; a connection that had gone stale does not
  // count.
  void retry_or_fail(Call& call, const Failure& failure, bool sent, bool is_stale) noexcept {
    const bool harmless = is_stale || (failure.is_loss() && !call.retried && (!sent || call.is_repeatable()));
    if (!harmless) return fail(call, failure, sent);
    call.link = nullptr;
    call.retried = call.retried || !is_stale;
    waiting_.push_front(call);
  }

  // The caller's time is up.
  void give_up(Call& call) noexcept {
    const bool sent = !call.queued;
    if (call.queued) {
      waiting_.remove(call);
    } else {
      auto& carried = call.link->carried;
      const auto place = std::find(carried.begin() + call.link->answered, carried.end(), &call);
      if (place != carried.end()) {
        *place = nullptr;
        --call.link->awaited;
      }
    }
    fail(call, Failure::timeout("the time allowed ran out (command_timeout)"), sent);
  }

  // The leader leaves while replies are owed.
  void pass_on(Link& link) noexcept {
    const auto is_somebody = [](const Call* call) { return call != nullptr; };
    const auto heir = std::find_if(link.carried.begin() + link.answered, link.carried.end(), is_somebody);
    if (heir == link.carried.end()) return drop(link);
    link.leader = *heir;
    summon(**heir);
  }

  void release(Link& link) noexcept {
    if (link.connection->owed() != 0) return drop(link);  // to callers who have left
    link.leader = nullptr;
    link.has_rested = true;
    idle_.push_back(&link);
  }

  void drop(Link& link) noexcept {
    link.connection->mark_unusable();
    const auto is_it = [&](const std::unique_ptr<Link>& owned) { return owned.get() == &link; };
    links_.erase(std::find_if(links_.begin(), links_.end(), is_it));
  }

  // While the last attempt to connect failed, there is one attempt at a time, and none before its time has come.
  bool may_connect() const noexcept {
    if (!idle_.empty() || links_.size() + connecting_ >= max_links()) return false;
    return !last_failure_ || (connecting_ == 0 && Clock::now() >= next_attempt_);
  }

  void connect(Call& call, Lock& lock) noexcept {
    waiting_.remove(call);
    ++connecting_;
    std::unique_ptr<Link> link;
    Failure failure;
    unlock(lock);
    const auto deadline = (std::min)(Clock::now() + options_.connect_timeout, call.limit);
    try {
      link = std::make_unique<Link>(connector_.connect(deadline));
    } catch (...) {
      failure = Failure::current();
    }
    lock.lock();
    --connecting_;
    if (failure.is_memory()) {  // says nothing about the server
      fail(call, failure, false);
      return dispatch();
    }
    last_failure_ = failure;
    if (link) {
      delay_ = {};
      call.deadline = (std::min)(Clock::now() + options_.command_timeout, call.limit);
      link->leader = &call;
      links_.push_back(std::move(link));
      waiting_.push_front(call);
      if (call.alone) assign(*links_.back(), call);
      return lead(*links_.back(), call, lock);
    }
    if (!borrowed_) back_off();
    if (links_.empty()) {
      fail(call, failure, false);
    } else {
      waiting_.push_front(call);
    }
    dispatch();
  }

  // Twice as long after each failure, less up to half of it, so that clients do not come back all at once.
  void back_off() noexcept {
    const auto now = Clock::now();
    if (now < next_attempt_) return;
    delay_ = (std::clamp)(2 * delay_, std::chrono::nanoseconds(first_delay), std::chrono::nanoseconds(longest_delay));
    next_attempt_ = now + delay_ - std::chrono::nanoseconds(now.time_since_epoch().count() % (delay_.count() / 2));
  }

  // Sees to the calls that wait. To be called whenever there may be something that it can do for them.
  void dispatch() noexcept {
    while (!waiting_.empty() && waiting_.front().alone && !idle_.empty()) {
      Call& call = waiting_.front();
      assign(*take_idle(call), call);
      summon(call);
    }
    if (waiting_.empty()) return;
    if (!idle_.empty() || may_connect()) {
      if (waiting_.front().bed) summon(waiting_.front());
    } else if (links_.empty() && last_failure_) {
      while (!waiting_.empty()) {
        Call& call = waiting_.front();
        waiting_.remove(call);
        fail(call, last_failure_, false);
      }
    }
  }

  static void summon(Call& call) noexcept {
    std::unique_lock<std::mutex> hold;
    if (call.bed) hold = std::unique_lock<std::mutex>(call.bed->mutex);
    call.called.store(true, std::memory_order_relaxed);
    if (call.bed) call.bed->wake.notify_one();
  }

  // Lets other threads run until the call is done (then returns without the lock), or there may be something for it to
  // do.
  void spin(Call& call, Lock& lock) noexcept {
    unlock(lock);
    do {
      std::this_thread::yield();
      if (call.done.load(std::memory_order_acquire)) return patience_.paid(true);
    } while (--call.yields != 0 && !call.called.load(std::memory_order_relaxed) &&
             batches_.load(std::memory_order_relaxed) != 0);
    if (call.yields == 0) patience_.paid(false);
    lock.lock();
    call.called = false;
  }

  // Sleeps until the call is done (then returns without the lock), or there may be something for it to do; false if its
  // time is up.
  bool park(Call& call, Lock& lock) noexcept {
    Bed bed;
    call.bed = &bed;
    unlock(lock);
    std::unique_lock<std::mutex> awake(bed.mutex);
    bed.wake.wait_until(awake, call.deadline, [&] { return call.done || call.called; });
    if (call.done) return true;
    awake.unlock();
    lock.lock();
    const bool was_called = call.called.exchange(false);  // to lead, maybe, although its time is up
    if (!call.answered) {
      call.bed = nullptr;
      return was_called;
    }
    unlock(lock);
    awake.lock();
    bed.wake.wait(awake, [&] { return call.done.load(); });
    return true;
  }

  const Options& options_;
  redisContext* const borrowed_;
  const Connector connector_;

  std::mutex mutex_;
  Queue waiting_;
  Queue answered_;  // to be woken when the lock is released
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<Link*> idle_;
  std::atomic<std::size_t> batches_{0};  // under way
  std::size_t crowd_ = 0;                // how many calls went together of late
  std::size_t connecting_ = 0;           // attempts under way
  Failure last_failure_;                 // of the last attempt
  std::chrono::nanoseconds delay_{};     // between the last attempt and
  Deadline next_attempt_{};
  Patience patience_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
