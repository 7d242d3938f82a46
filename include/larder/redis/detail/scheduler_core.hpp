// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

#include "../../statistics.hpp"
#include "../../version.hpp"
#include "../options.hpp"
#include "adaptive_spin.hpp"
#include "call.hpp"
#include "calls.hpp"
#include "failure.hpp"
#include "link.hpp"
#include "links.hpp"
#include "matching.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// What the thread of a call is to do next. All but `leave`, `gather`, `spin` and `sleep` are reported to the core.
enum class Action : unsigned char {
  leave,     // the call is done
  gather,    // yield once: others are about to call too
  spin,      // yield until the call is done, or for a moment
  sleep,     // until it is notified, or the time has come: woke()
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
  using Matching = detail::Matching<Connection, Clock>;
  using Link = detail::Link<Connection>;
  using Links = detail::Links<Connection>;
  using Limits = typename Matching::Limits;

  struct Step {
    Action action;
    Link* link = nullptr;
    Deadline until{};     // of sleep
    bool sends = false;   // of advance: the sending half of the connection is the leader's
    std::size_t own = 0;  // of advance: how many of the next replies are the leader's
  };

  explicit SchedulerCore(const Limits& limits) : matching_(limits) {}

  Calls& calls() noexcept { return matching_.calls(); }
  Links& links() noexcept { return matching_.links(); }
  const Links& links() const noexcept { return matching_.links(); }
  TimedYields& yields() noexcept { return calls().yields; }
  AdaptiveSpin& adaptive_spin() noexcept { return matching_.adaptive_spin(); }
  PoolStats stats() const noexcept { return matching_.stats(); }

  // The call is to be sent before its thread waits for it: on the connection that is returned, by send(), or by others
  // if that is null.
  Link* start(Call& call) noexcept {
    const bool fits = call.count <= InFlight::capacity && call.bytes <= Connection::buffer_size;
    Link* link = fits ? matching_.link_to_start_on(call) : nullptr;
    if (!link && call.travels_alone()) return nullptr;  // its thread has to carry it out
    calls().enqueue(call);
    if (!link) return nullptr;
    links().take(*link);
    calls().queue.remove(call);
    links().put(*link, call);
    call.travels_alone() ? matching_.match() : matching_.fill(*link);
    link->sending.store(true, std::memory_order_relaxed);
    return link;
  }

  // What the thread of the call does next.
  Step next(Call& call) noexcept {
    for (;;) {
      switch (call.state) {
        case CallState::created:
          if (Link* const link = matching_.link_at_once(call)) {
            calls().begin(call);
            links().assign(*link, call);
            break;
          }
          calls().enqueue(call);
          if (call.deadline <= call.started) {
            give_up(call);
            break;
          }
          if (matching_.wants_to_gather()) return {Action::gather};
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
    matching_.front_changed();
    if (link.leader) return;
    links().release(link);
    matching_.match();
  }

  // Replies have come, or (not `in_time`) the time of the leader is up.
  void received(Link& link, Call& leader, bool in_time) noexcept {
    if (const char* const problem = links().deliver(link)) return lost(link, Failure::protocol(problem), false);
    if (!in_time && leader.state != CallState::done) give_up(leader);
  }

  void exchanged(Link& link, Call& call, bool in_time) noexcept {
    link.is_exclusive = false;
    link.sending.store(false, std::memory_order_relaxed);
    link.is_unusable = !in_time;
    if (!in_time) return give_up(call);
    for (std::size_t i = 0; i < call.count; ++i) links().look_for_wrong_node(link, call.replies[i]);
    calls().finish(call);
  }

  // The connection broke, or cannot be used on. `is_stale`: it had rested, and was broken before it was used.
  void lost(Link& link, const Failure& failure, bool is_stale) noexcept {
    (void)links().deliver(link);
    links().doubt_all();
    const bool sent = Links::is_sending(link) || link.connection->has_sent();
    calls().events.reason = failure;
    const Cause cause = is_stale ? Cause::stale : failure.is_loss() ? Cause::unknown : Cause::first_in_flight;
    const Call* const first = link.in_flight.front();
    const bool is_one = link.in_flight.has_one_caller();
    Call* const leader = links().unlead(link);
    while (Call* call = link.in_flight.pop_last_call()) {
      if (call == first && cause == Cause::first_in_flight) {
        calls().fail(*call, failure, sent);
      } else {
        calls().repeat_or_fail(*call, failure, sent, cause, is_one);
      }
    }
    if (leader) leader_lost(link, *leader, failure, sent, cause);
    link.is_broken = true;
    if (!Links::is_sending(link)) links().drop(link);
    matching_.match();
  }

  void connected(Call& call, std::unique_ptr<Link> made) noexcept { matching_.connected(call, std::move(made)); }
  // `was_short`: it did not have the whole connect_timeout, so that running out of time says nothing about the server.
  void connect_failed(Call& call, const Failure& failure, bool was_short) noexcept {
    matching_.connect_failed(call, failure, was_short);
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
    if (matching_.may_spin(call)) return {Action::spin};
    if (Link* link = matching_.claim(call)) {
      calls().queue.remove(call);
      links().assign(*link, call);
      if (call.travels_alone()) matching_.match();  // the queue has another front
      return {};
    }
    if (Link* link = matching_.link_to_send_behind(call)) {
      matching_.fill(*link);
      link->is_timed = false;
      link->sending.store(true, std::memory_order_relaxed);
      return {Action::send, link};
    }
    if (matching_.may_connect()) {
      matching_.connects(call);
      return {Action::connect};
    }
    if (!matching_.is_hopeless()) return sleep(call);
    matching_.fail_all();
    return {Action::leave};
  }

  Step next_of_assigned(Call& call) noexcept {
    Link& link = Links::of(call);
    if (call.travels_alone()) {
      if (!link.in_flight.empty() || Links::is_sending(link)) return advance(link);
      link.is_exclusive = true;
      matching_.goes_alone();
      link.connection->begin_batch();
      link.sending.store(true, std::memory_order_relaxed);
      call.state = CallState::in_flight;
      return {Action::exchange, &link};
    }
    if (Links::is_sending(link) || !Links::has_room(link, call)) return advance(link);
    links().put(link, call);
    matching_.fill(link);
    return advance(link);
  }

  Step next_of_in_flight(Call& call) noexcept {
    Link& link = Links::of(call);
    if (!link.leader && !Links::is_sending(link)) {  // it was started, and nobody waits for its replies
      links().take(link);
      links().lead(link, call);
    }
    if (link.leader == &call) return advance(link);
    return matching_.may_spin(call) ? Step{Action::spin} : sleep(call);
  }

  // The call is done, and its thread is the leader of a connection.
  Step next_of_leaving(Call& call) noexcept {
    Link& link = Links::of(call);
    if (!link.is_unusable) {
      if (!link.in_flight.empty() && link.awaited != 0 && !link.was_looked_at) {
        link.was_looked_at = true;
        return {Action::look, &link};
      }
      if (matching_.hands_over(link, call)) {
        matching_.fill(link);
        link.was_looked_at = true;
        link.sending.store(true, std::memory_order_relaxed);
        return {Action::send, &link};
      }
    }
    links().unlead(link);
    if (!Links::is_sending(link)) links().release(link);
    matching_.match();
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
    call.is_parked = true;
    return {Action::sleep, nullptr, matching_.sleeps_until(call)};
  }

  // The end of a call.

  // The leader of a connection that broke, if its call was not among those in flight.
  void leader_lost(Link& link, Call& leader, const Failure& failure, bool sent, Cause cause) noexcept {
    const bool was_exclusive = link.is_exclusive && leader.state == CallState::in_flight;
    if (was_exclusive && cause == Cause::first_in_flight) return calls().fail(leader, failure, sent);
    if (was_exclusive || leader.state == CallState::assigned) {
      calls().repeat_or_fail(leader, failure, sent && was_exclusive, cause, true);
    }
  }

  // Its time is up, unless it only waited in the queue while nothing came over any connection: then it may connect.
  void overdue(Call& call) noexcept {
    if (call.state != CallState::queued || call.was_extended || call.was_repeated ||
        links().heard_at() >= call.started || call.deadline >= call.limit) {
      return give_up(call);
    }
    call.was_extended = true;
    call.deadline = call.limit;
  }

  void give_up(Call& call) noexcept {
    ++calls().stats.timeouts;
    const bool sent = call.state == CallState::in_flight;
    if (call.state == CallState::queued) {
      calls().queue.remove(call);
      matching_.front_changed();
    } else if (sent) {
      Link& link = Links::of(call);
      link.awaited -= link.in_flight.forget(call);
      if (link.leader != &call) call.link = nullptr;
      if (!link.leader && !Links::is_sending(link) && link.awaited == 0) links().drop(link);
    }
    const Failure failure = Failure::timeout("the time allowed ran out (command_timeout)");
    if (sent) calls().events.reason = failure;
    calls().fail(call, failure, sent);
    matching_.match();
  }

  Matching matching_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
