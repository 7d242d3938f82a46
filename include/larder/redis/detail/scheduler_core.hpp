// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "../../statistics.hpp"
#include "../../version.hpp"
#include "../options.hpp"
#include "adaptive_spin.hpp"
#include "back_off.hpp"
#include "call.hpp"
#include "calls.hpp"
#include "failure.hpp"
#include "link.hpp"
#include "links.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// What the thread of a call is to do next. All but `leave`, `gather`, `spin` and `sleep` are reported to the core.
enum class Action : unsigned char {
  leave,     // the call is done
  gather,    // yield once: others are about to call too
  spin,      // yield until the call is done, or for a moment
  sleep,     // until it is told, or the time has come: woke()
  connect,   // open a connection: connected() or connect_failed()
  advance,   // send what is left, if `sends`, and receive: received() or lost()
  look,      // receive what is there: received() or lost()
  send,      // send what goes at once: sent()
  exchange,  // carry out the call by itself: exchanged() or lost()
};

// Who does what, without threads, sockets or time: the functions are what has happened, and what they return is what is
// to be done. scheduler.hpp has the map.
template <class Connection, class Clock = std::chrono::steady_clock>
class SchedulerCore {
 public:
  using Link = detail::Link<Connection>;
  using Links = detail::Links<Connection>;

  struct Limits {
    std::size_t links;
    std::chrono::nanoseconds command_timeout;
    bool polls;
    bool is_borrowed;
  };

  struct Step {
    Action action;
    Link* link = nullptr;
    Deadline until{};     // of sleep
    bool sends = false;   // of advance: the sending half of the connection is the leader's
    std::size_t own = 0;  // of advance: how many of the next replies are the leader's
  };

  static constexpr int most_overtaken = 4;
  static constexpr int most_spins = 20;

  explicit SchedulerCore(const Limits& limits) : limits_(limits), links_(limits.links, limits.is_borrowed, calls_) {}

  Calls& calls() noexcept { return calls_; }
  Links& links() noexcept { return links_; }
  const Links& links() const noexcept { return links_; }
  TimedYields& yields() noexcept { return calls_.yields; }
  AdaptiveSpin& adaptive_spin() noexcept { return adaptive_spin_; }

  PoolStats stats() const noexcept {
    PoolStats now = calls_.stats;
    now.connections = links_.size();
    now.lost = links_.losses();
    now.waiting = calls_.queue.size();
    return now;
  }

  // The call is to be sent before its thread waits for it: on the connection that is returned, by send(), or by others
  // if that is null.
  Link* start(Call& call) noexcept {
    const bool fits = call.count <= InFlight::capacity && call.bytes <= Connection::buffer_size;
    Link* link = fits ? link_to_start_on(call) : nullptr;
    if (!link && call.travels_alone()) return nullptr;  // its thread has to carry it out
    calls_.enqueue(call);
    if (!link) return nullptr;
    links_.take(*link);
    calls_.queue.remove(call);
    links_.put(*link, call);
    call.travels_alone() ? match() : load(*link);
    link->sending.store(true, std::memory_order_relaxed);
    return link;
  }

  // What the thread of the call does next.
  Step next(Call& call) noexcept {
    for (;;) {
      switch (call.state) {
        case CallState::created:
          if (Link* const link = link_at_once(call)) {
            calls_.begin(call);
            links_.assign(*link, call);
            break;
          }
          calls_.enqueue(call);
          if (call.deadline <= call.started) {
            give_up(call);
            break;
          }
          if (wants_to_gather()) return {Action::gather};
          [[fallthrough]];
        case CallState::queued: {
          const Step step = next_of_queued(call);
          if (call.state == CallState::assigned || call.state == CallState::done) break;
          return step;
        }
        case CallState::assigned:
          return next_of_assigned(call);
        case CallState::in_flight:
          return next_of_in_flight(call);
        case CallState::connecting:
          return {Action::connect};
        case CallState::answered:
        case CallState::done:
          return call.link ? next_of_leaving(call) : Step{Action::leave};
      }
    }
  }

  // Sending has ended. An error is left to the next leader, who meets it again.
  void sent(Link& link) noexcept {
    link.sending.store(false, std::memory_order_relaxed);
    front_changed();
    if (link.leader) return;
    links_.settle(link);
    match();
  }

  // Replies have come, or (not `in_time`) the time of the leader is up.
  void received(Link& link, Call& leader, bool in_time) noexcept {
    if (const char* const problem = links_.deliver(link)) return lost(link, Failure::protocol(problem), false);
    if (!in_time && leader.state != CallState::done) give_up(leader);
  }

  void exchanged(Link& link, Call& call, bool in_time) noexcept {
    link.is_exclusive = false;
    link.sending.store(false, std::memory_order_relaxed);
    link.is_unusable = !in_time;
    if (!in_time) return give_up(call);
    for (std::size_t i = 0; i < call.count; ++i) links_.look_for_wrong_node(link, call.replies[i]);
    calls_.finish(call);
  }

  // The connection broke, or cannot be used on. `is_stale`: it had rested, and was broken before it was used.
  void lost(Link& link, const Failure& failure, bool is_stale) noexcept {
    (void)links_.deliver(link);
    const bool sent = Links::is_sending(link) || link.connection->has_sent();
    calls_.news.reason = failure;
    const Cause cause = is_stale ? Cause::stale : failure.is_loss() ? Cause::unknown : Cause::first_in_flight;
    const Call* const first = link.in_flight.front();
    const bool is_one = link.in_flight.has_one_caller();
    Call* const leader = links_.unlead(link);
    while (Call* call = link.in_flight.pop_last_call()) {
      if (call == first && cause == Cause::first_in_flight) {
        calls_.fail(*call, failure, sent);
      } else {
        calls_.repeat_or_fail(*call, failure, sent, cause, is_one);
      }
    }
    if (leader) leader_lost(link, *leader, failure, sent, cause);
    link.is_broken = true;
    if (!Links::is_sending(link)) links_.drop(link);
    match();
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

  // The thread of the call no longer sleeps. False if the call is done, and is_done() about to say so.
  bool woke(Call& call) noexcept {
    if (call.state == CallState::answered) return false;
    call.is_parked = false;
    if (!call.waiter.clear() && Clock::now() >= call.deadline) overdue(call);
    return true;
  }

  // The caller leaves without waiting for the end; only after start().
  void abandon(Call& call) noexcept {
    if (call.state == CallState::queued || call.state == CallState::in_flight) give_up(call);
  }

 private:
  // The steps of a call.

  Step next_of_queued(Call& call) noexcept {
    if (may_spin(call)) return {Action::spin};
    if (Link* link = claim(call)) {
      calls_.queue.remove(call);
      links_.assign(*link, call);
      if (call.travels_alone()) match();  // the queue has another front
      return {};
    }
    if (Link* link = link_to_send_behind(call)) {
      load(*link);
      link->is_timed = false;
      link->sending.store(true, std::memory_order_relaxed);
      return {Action::send, link};
    }
    if (!may_connect()) return is_hopeless() ? fail_all() : sleep(call);
    calls_.queue.remove(call);
    call.state = CallState::connecting;
    ++connecting_;
    front_changed();
    return {Action::connect};
  }

  Step next_of_assigned(Call& call) noexcept {
    Link& link = Links::of(call);
    if (call.travels_alone()) {
      if (!link.in_flight.empty() || Links::is_sending(link)) return advance(link);
      link.is_exclusive = true;
      recent_batch_size_ /= 2;
      link.connection->begin_batch();
      link.sending.store(true, std::memory_order_relaxed);
      call.state = CallState::in_flight;
      return {Action::exchange, &link};
    }
    if (Links::is_sending(link) || !Links::has_room(link, call)) return advance(link);
    links_.put(link, call);
    load(link);
    return advance(link);
  }

  Step next_of_in_flight(Call& call) noexcept {
    Link& link = Links::of(call);
    if (!link.leader && !Links::is_sending(link)) {  // it was started, and nobody waits for its replies
      links_.take(link);
      links_.lead(link, call);
    }
    if (link.leader == &call) return advance(link);
    return may_spin(call) ? Step{Action::spin} : sleep(call);
  }

  // The call is done, and its thread is the leader of a connection.
  Step next_of_leaving(Call& call) noexcept {
    Link& link = Links::of(call);
    if (!link.is_unusable) {
      if (!link.in_flight.empty() && link.awaited != 0 && !link.was_looked_at) {
        link.was_looked_at = true;
        return {Action::look, &link};
      }
      if (hands_over(link, call)) {
        load(link);
        link.was_looked_at = true;
        link.sending.store(true, std::memory_order_relaxed);
        return {Action::send, &link};
      }
    }
    links_.unlead(link);
    if (!Links::is_sending(link)) links_.settle(link);
    match();
    return {Action::leave};
  }

  Step advance(Link& link) noexcept {
    const bool sends = !Links::is_sending(link) && link.connection->has_unsent();
    if (sends) link.sending.store(true, std::memory_order_relaxed);
    const Call& leader = *link.leader;
    const bool is_first = leader.state == CallState::in_flight && link.in_flight.front() == &leader;
    return {Action::advance, &link, {}, sends, is_first ? leader.count - leader.received : 0};
  }

  Step sleep(Call& call) noexcept {
    Deadline until = call.deadline;
    if (call.state == CallState::queued && has_duty() && calls_.queue.first_attended() == &call) {
      until = (std::min)(until, next_duty());
    }
    call.is_parked = true;
    return {Action::sleep, nullptr, until};
  }

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

  // Who drives a connection.

  // A free connection for a new call that need not queue at all.
  Link* link_at_once(Call& call) noexcept {
    Link* const link = links_.free_one();
    const bool may = link && calls_.queue.empty() && call.deadline > call.started && recent_batch_size_ < 2;
    return may && !may_spin(call) ? link : nullptr;
  }

  // A free connection for a queued call. It may go past the first in the queue, whom it cannot take along, only a few
  // times.
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

  Link* link_to_start_on(Call& call) noexcept {
    Link* const link = links_.free_one();
    if (!link) return nullptr;
    if (call.travels_alone() ? !link->in_flight.empty() || calls_.queue.first_attended()
                             : !Links::has_room(*link, call)) {
      return nullptr;
    }
    return link;
  }

  Link* link_to_send_behind(const Call& call) noexcept {
    const bool may = links_.are_slow() && !call.travels_alone() && !calls_.queue.front().travels_alone();
    return may ? links_.one_to_send_behind(calls_.queue.front(), Clock::now()) : nullptr;
  }

  // As many of the waiting calls as there is room for.
  void load(Link& link) {
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

  // A leader who is done sends the next batch where nobody yields, where nobody else can, and after a call that went
  // alone, whose caller might otherwise come back first.
  bool hands_over(Link& link, const Call& call) noexcept {
    if (calls_.queue.empty() || !link.in_flight.empty() || Links::is_sending(link) || link.is_wrong_node) return false;
    const Call& front = calls_.queue.front();
    if (front.travels_alone()) return false;
    return call.travels_alone() || !front.is_attended || !calls_.yields.are_cheap<Clock>();
  }

  // While the last attempt to connect failed, there is one attempt at a time, and none before its time has come.
  bool has_room_for_link() const noexcept { return links_.size() + connecting_ < limits_.links; }
  bool may_connect() const noexcept {
    if (links_.free_one() || !has_room_for_link()) return false;
    return !last_failure_ || (connecting_ == 0 && back_off_.may_try(Clock::now()));
  }
  // The queue.

  // Sees to the calls that wait. To be called whenever there may be something that it can do for them.
  void match() noexcept {
    while (Call* const first = calls_.queue.first_attended()) {
      if (!links_.free_one()) {
        if (may_connect()) return calls_.tell_if_parked(*first);
        if (is_hopeless()) fail_all();
        return;
      }
      if (!first->is_parked || !first->travels_alone()) return calls_.tell_if_parked(*first);
      calls_.queue.remove(*first);
      links_.assign(*links_.free_one(), *first);
      calls_.tell(*first);
    }
  }

  // While there is no connection, and the last attempt failed, calls fail at once.
  bool is_hopeless() const noexcept { return links_.empty() && last_failure_; }
  Step fail_all() noexcept {
    calls_.fail_queued(last_failure_);
    return {Action::leave};
  }

  // The first in the queue sleeps no longer than until it has something to do that comes with time.
  bool has_duty() const noexcept { return last_failure_ || links_.are_slow(); }
  void front_changed() noexcept {
    if (calls_.queue.empty() || !has_duty()) return;
    if (Call* const first = calls_.queue.first_attended()) calls_.tell_if_parked(*first);
  }
  Deadline next_duty() const noexcept {
    Deadline next = (Deadline::max)();
    if (last_failure_ && has_room_for_link() && connecting_ == 0) next = back_off_.next();
    return links_.are_slow() ? (std::min)(next, links_.next_behind(Clock::now())) : next;
  }

  // The end of a call.

  // The leader of a connection that broke, if its call was not among those in flight.
  void leader_lost(Link& link, Call& leader, const Failure& failure, bool sent, Cause cause) noexcept {
    const bool was_exclusive = link.is_exclusive && leader.state == CallState::in_flight;
    if (was_exclusive && cause == Cause::first_in_flight) return calls_.fail(leader, failure, sent);
    if (was_exclusive || leader.state == CallState::assigned) {
      calls_.repeat_or_fail(leader, failure, sent && was_exclusive, cause, true);
    }
  }

  // Its time is up, unless it only waited in the queue while nothing came over any connection: then it may connect.
  void overdue(Call& call) noexcept {
    if (call.state != CallState::queued || call.was_extended || call.was_repeated ||
        links_.heard_at() >= call.started || call.deadline >= call.limit) {
      return give_up(call);
    }
    call.was_extended = true;
    call.deadline = call.limit;
  }

  void give_up(Call& call) noexcept {
    ++calls_.stats.timeouts;
    const bool sent = call.state == CallState::in_flight;
    if (call.state == CallState::queued) {
      calls_.queue.remove(call);
      front_changed();
    } else if (sent) {
      Link& link = Links::of(call);
      link.awaited -= link.in_flight.forget(call);
      if (link.leader != &call) call.link = nullptr;
      if (!link.leader && !Links::is_sending(link) && link.awaited == 0) links_.drop(link);
    }
    const Failure failure = Failure::timeout("the time allowed ran out (command_timeout)");
    if (sent) calls_.news.reason = failure;
    calls_.fail(call, failure, sent);
    match();
  }

  const Limits limits_;
  Calls calls_;
  Links links_;
  std::size_t recent_batch_size_ = 0;  // calls that went together of late
  std::size_t connecting_ = 0;         // attempts under way
  Failure last_failure_;               // of the last attempt
  BackOff back_off_;
  AdaptiveSpin adaptive_spin_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
