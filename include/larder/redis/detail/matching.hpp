// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

#include "../../statistics.hpp"
#include "../../version.hpp"
#include "../options.hpp"
#include "adaptive_spin.hpp"
#include "back_off.hpp"
#include "call.hpp"
#include "calls.hpp"
#include "clock.hpp"
#include "failure.hpp"
#include "link.hpp"
#include "links.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Which call goes over which connection, when another connection is opened, and who is notified. Under the lock of the
// pool.
template <class Connection, class Clock>
class Matching {
 public:
  using Link = detail::Link<Connection>;
  using Links = detail::Links<Connection>;

  struct Limits {
    std::size_t links;
    std::chrono::nanoseconds command_timeout;
    bool polls;
    bool is_borrowed;
  };

  static constexpr int most_overtaken = 4;

  explicit Matching(const Limits& limits) : limits_(limits), links_(limits.links, limits.is_borrowed, calls_) {}

  Calls& calls() noexcept { return calls_; }
  Links& links() noexcept { return links_; }
  const Links& links() const noexcept { return links_; }
  AdaptiveSpin& adaptive_spin() noexcept { return adaptive_spin_; }

  PoolStats stats() const noexcept {
    PoolStats now = calls_.stats;
    now.connections = links_.size();
    now.lost = links_.losses();
    now.waiting = calls_.queue.size();
    return now;
  }

  // Before a call goes.

  // Those who were answered together are about to call again: before one of them goes, the others may join.
  bool wants_to_gather() noexcept { return recent_batch_size_ > 1 && calls_.yields.are_cheap<Clock>(); }

  // While a batch is under way it is better to wait a moment for the next one than to go alone.
  bool may_spin(Call& call) noexcept {
    if (!limits_.polls || call.travels_alone() || !links_.has_batches()) return false;
    if (call.spins_left < 0) {
      call.spins_left = calls_.yields.are_cheap<Clock>() && adaptive_spin_.should_try() ? most_spins : 0;
    }
    return call.spins_left != 0;
  }

  // Which connection.

  // A free one for a new call that need not queue at all.
  Link* link_at_once(Call& call) noexcept {
    Link* const link = links_.free_one();
    const bool may = link && calls_.queue.empty() && call.deadline > call.started && recent_batch_size_ < 2;
    return may && !may_spin(call) ? link : nullptr;
  }

  // A free one for a queued call. It may go past the first in the queue, whom it cannot take along, only a few times.
  Link* claim(Call& call) noexcept {
    Link* const link = links_.free_one();
    if (!link) return nullptr;
    Call* const first = calls_.queue.first_attended();
    if (first != &call && (call.travels_alone() || first->travels_alone())) {
      if (first->overtaken == most_overtaken) return nullptr;
      ++first->overtaken;
    }
    return link;
  }

  // A free one for a call that is sent before its thread waits.
  Link* link_to_start_on(const Call& call) noexcept {
    Link* const link = links_.free_one();
    if (!link) return nullptr;
    if (call.travels_alone() ? !link->in_flight.empty() || calls_.queue.first_attended()
                             : !Links::has_room(*link, call)) {
      return nullptr;
    }
    return link;
  }

  // One that others use, where the queue can be sent behind what is under way.
  Link* link_to_send_behind(const Call& call) noexcept {
    const bool may = links_.are_slow() && !call.travels_alone() && !calls_.queue.front().travels_alone();
    return may ? links_.one_to_send_behind(calls_.queue.front(), Clock::now()) : nullptr;
  }

  // What goes over it.

  // As many of the waiting calls as there is room for.
  void fill(Link& link) {
    while (!calls_.queue.empty()) {
      Call& call = calls_.queue.front();
      if (call.travels_alone() || !Links::has_room(link, call)) break;
      calls_.queue.remove(call);
      links_.put(link, call);
    }
    ++calls_.stats.batches;
    recent_batch_size_ = (std::max)(link.in_flight.size(), recent_batch_size_ / 2);
    if (calls_.queue.empty()) return;
    match();  // the queue has another front, and there may be another free connection
    front_changed();
  }

  // A call goes by itself.
  void goes_alone() noexcept { recent_batch_size_ /= 2; }

  // A leader who is done sends the next batch where nobody yields, where nobody else can, and after a call that went
  // alone, whose caller might otherwise come back first.
  bool hands_over(Link& link, const Call& call) noexcept {
    if (calls_.queue.empty() || !link.in_flight.empty() || Links::is_sending(link) || link.is_wrong_node ||
        link.is_doubtful)
      return false;
    const Call& front = calls_.queue.front();
    if (front.travels_alone()) return false;
    return call.travels_alone() || !front.is_attended || !calls_.yields.are_cheap<Clock>();
  }

  // Attempts to connect. While the last one failed, there is one at a time, and none before its time has come.

  bool may_connect() const noexcept {
    if (links_.free_one() || !has_room_for_link()) return false;
    return !last_failure_ || (connecting_ == 0 && back_off_.may_try(Clock::now()));
  }
  void connects(Call& call) noexcept {
    calls_.queue.remove(call);
    call.state = CallState::connecting;
    ++connecting_;
    front_changed();
  }
  void connected(Call& call, std::unique_ptr<Link> made) noexcept {
    --connecting_;
    ++calls_.stats.connects;
    last_failure_ = {};
    back_off_.succeeded();
    call.deadline = (std::max)(call.deadline, (std::min)(Clock::now() + limits_.command_timeout, call.limit));
    links_.assign(links_.add(std::move(made)), call);
  }
  // `was_short`: it did not have the whole connect_timeout, so that running out of time says nothing about the server.
  void connect_failed(Call& call, const Failure& failure, bool was_short) noexcept {
    --connecting_;
    if (failure.is_local() || failure.is_busy() || (was_short && failure.is_timeout())) {
      if (failure.is_timeout()) ++calls_.stats.timeouts;
      calls_.fail(call, failure, false);
      return match();
    }
    ++calls_.stats.connect_failures;
    last_failure_ = failure;
    if (!limits_.is_borrowed) back_off_.failed(Clock::now());
    if (links_.empty()) {
      calls_.fail(call, failure, false);
    } else {
      call.state = CallState::queued;
      calls_.queue.push_front(call);
    }
    match();
  }

  // While there is no connection, and the last attempt failed, calls fail at once.
  bool is_hopeless() const noexcept { return links_.empty() && last_failure_; }
  void fail_all() noexcept { calls_.fail_queued(last_failure_); }

  // Who is notified.

  // Sees to the calls that wait. To be called whenever there may be something that it can do for them.
  void match() noexcept {
    while (Call* const first = calls_.queue.first_attended()) {
      if (!links_.free_one()) {
        if (may_connect()) return calls_.notify_if_parked(*first);
        if (is_hopeless()) fail_all();
        return;
      }
      if (!first->is_parked || !first->travels_alone()) return calls_.notify_if_parked(*first);
      calls_.queue.remove(*first);
      links_.assign(*links_.free_one(), *first);
      calls_.notify(*first);
    }
  }

  // The first in the queue sleeps no longer than until it has something to do that comes with time.
  void front_changed() noexcept {
    if (calls_.queue.empty() || !has_duty()) return;
    if (Call* const first = calls_.queue.first_attended()) calls_.notify_if_parked(*first);
  }
  Deadline sleeps_until(const Call& call) const noexcept {
    const bool is_first = call.state == CallState::queued && has_duty() && calls_.queue.first_attended() == &call;
    return is_first ? (std::min)(call.deadline, next_duty()) : call.deadline;
  }

 private:
  static constexpr int most_spins = 20;

  bool has_room_for_link() const noexcept { return links_.size() + connecting_ < limits_.links; }

  bool has_duty() const noexcept { return last_failure_ || links_.are_slow(); }
  TimePoint next_duty() const noexcept {
    TimePoint next = (TimePoint::max)();
    if (last_failure_ && has_room_for_link() && connecting_ == 0) next = back_off_.next();
    return links_.are_slow() ? (std::min)(next, links_.next_behind(Clock::now())) : next;
  }

  const Limits limits_;
  Calls calls_;
  Links links_;
  std::size_t recent_batch_size_ = 0;  // calls that went together recently
  std::size_t connecting_ = 0;         // attempts under way
  Failure last_failure_;               // of the last attempt
  BackOff back_off_;
  AdaptiveSpin adaptive_spin_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
