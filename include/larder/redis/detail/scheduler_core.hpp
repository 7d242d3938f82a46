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
#include "callers.hpp"
#include "failure.hpp"
#include "link.hpp"
#include "queue.hpp"
#include "round_trip.hpp"

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

  explicit SchedulerCore(const Limits& limits) : limits_(limits) {
    links_.reserve(limits_.links);
    free_.reserve(limits_.links);
  }

  TimedYields& yields() noexcept { return yields_; }
  AdaptiveSpin& adaptive_spin() noexcept { return adaptive_spin_; }
  bool batches_under_way() const noexcept { return batches_.load(std::memory_order_relaxed) != 0; }
  // How many connections have gone.
  std::uint64_t losses() const noexcept { return losses_.load(std::memory_order_relaxed); }
  Callers& callers() noexcept { return callers_; }

  // What an observer is to be told when the lock has been released.
  struct News {
    unsigned lost = 0;      // connections
    unsigned repeated = 0;  // calls
    Failure reason;         // of the last of them
  };
  bool has_news() const noexcept { return news_.lost + news_.repeated != 0; }
  News take_news() noexcept { return std::exchange(news_, News()); }

  PoolStats stats() const noexcept {
    PoolStats now = stats_;
    now.connections = links_.size();
    now.lost = losses();
    now.waiting = queue_.size();
    return now;
  }

  template <class Visit>
  void for_each_link(Visit visit) {
    for (const auto& link : links_) visit(*link);
  }

  // The call is to be sent before its thread waits for it: on the connection that is returned, by send(), or by others
  // if that is null.
  Link* start(Call& call) noexcept {
    const bool fits = call.count <= InFlight::capacity && call.bytes <= Connection::buffer_size;
    Link* link = fits ? link_to_start_on(call) : nullptr;
    if (!link && call.travels_alone()) return nullptr;  // its thread has to carry it out
    enqueue(call);
    if (!link) return nullptr;
    take(*link);
    queue_.remove(call);
    put(*link, call);
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
            begin(call);
            assign(*link, call);
            break;
          }
          enqueue(call);
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
    settle(link);
    match();
  }

  // Replies have come, or (not `in_time`) the time of the leader is up.
  void received(Link& link, Call& leader, bool in_time) noexcept {
    if (const char* const problem = deliver(link)) return lost(link, Failure::protocol(problem), false);
    if (!in_time && leader.state != CallState::done) give_up(leader);
  }

  void exchanged(Link& link, Call& call, bool in_time) noexcept {
    link.is_exclusive = false;
    link.sending.store(false, std::memory_order_relaxed);
    link.is_unusable = !in_time;
    if (!in_time) return give_up(call);
    for (std::size_t i = 0; i < call.count; ++i) look_for_wrong_node(link, call.replies[i]);
    finish(call);
  }

  // The connection broke, or cannot be used on. `is_stale`: it had rested, and was broken before it was used.
  void lost(Link& link, const Failure& failure, bool is_stale) noexcept {
    (void)deliver(link);
    const bool sent = link.sending.load(std::memory_order_acquire) || link.connection->has_sent();
    news_.reason = failure;
    const Cause cause = is_stale ? Cause::stale : failure.is_loss() ? Cause::unknown : Cause::first_in_flight;
    Call* const first = link.in_flight.front();
    Call* const leader = std::exchange(link.leader, nullptr);
    count_batch(link, false);
    if (leader) leader->link = nullptr;  // there is none yet if a started call found the connection broken
    const bool is_one = link.in_flight.has_one_caller();
    while (Call* call = link.in_flight.pop_last_call()) {
      if (call == first && cause == Cause::first_in_flight) {
        fail(*call, failure, sent);
      } else {
        repeat_or_fail(*call, failure, sent, cause, is_one);
      }
    }
    if (leader &&
        (leader->state == CallState::assigned || (link.is_exclusive && leader->state == CallState::in_flight))) {
      if (link.is_exclusive && cause == Cause::first_in_flight) {
        fail(*leader, failure, sent);
      } else {
        repeat_or_fail(*leader, failure, sent && link.is_exclusive, cause, true);
      }
    }
    link.is_broken = true;
    if (!link.sending.load(std::memory_order_acquire)) drop(link);
    match();
  }

  void connected(Call& call, std::unique_ptr<Link> made) noexcept {
    --connecting_;
    ++stats_.connects;
    last_failure_ = {};
    back_off_.succeeded();
    call.deadline = (std::max)(call.deadline, (std::min)(Clock::now() + limits_.command_timeout, call.limit));
    links_.push_back(std::move(made));
    assign(*links_.back(), call);
  }

  // `was_short`: it did not have the whole connect_timeout, so that running out of time says nothing about the server.
  void connect_failed(Call& call, const Failure& failure, bool was_short) noexcept {
    --connecting_;
    if (failure.is_local() || failure.is_busy() || (was_short && failure.is_timeout())) {
      fail(call, failure, false);
      return match();
    }
    ++stats_.connect_failures;
    last_failure_ = failure;
    if (!limits_.is_borrowed) back_off_.failed(Clock::now());
    if (links_.empty()) {
      fail(call, failure, false);
    } else {
      call.state = CallState::queued;
      queue_.push_front(call);
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
  enum class Cause : unsigned char { stale, first_in_flight, unknown };

  // The steps of a call.

  Step next_of_queued(Call& call) noexcept {
    if (may_spin(call)) return {Action::spin};
    if (Link* link = claim(call)) {
      queue_.remove(call);
      assign(*link, call);
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
    queue_.remove(call);
    call.state = CallState::connecting;
    ++connecting_;
    front_changed();
    return {Action::connect};
  }

  Step next_of_assigned(Call& call) noexcept {
    Link& link = link_of(call);
    if (call.travels_alone()) {
      if (!link.in_flight.empty() || is_sending(link)) return advance(link);
      link.is_exclusive = true;
      recent_batch_size_ /= 2;
      link.connection->begin_batch();
      link.sending.store(true, std::memory_order_relaxed);
      call.state = CallState::in_flight;
      return {Action::exchange, &link};
    }
    if (is_sending(link) || !has_room(link, call)) return advance(link);
    put(link, call);
    load(link);
    return advance(link);
  }

  Step next_of_in_flight(Call& call) noexcept {
    Link& link = link_of(call);
    if (!link.leader && !is_sending(link)) {  // it was started, and nobody waits for its replies
      take(link);
      lead(link, call);
    }
    if (link.leader == &call) return advance(link);
    return may_spin(call) ? Step{Action::spin} : sleep(call);
  }

  // The call is done, and its thread is the leader of a connection.
  Step next_of_leaving(Call& call) noexcept {
    Link& link = link_of(call);
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
    call.link = nullptr;
    link.leader = nullptr;
    count_batch(link, false);
    if (!is_sending(link)) settle(link);
    match();
    return {Action::leave};
  }

  Step advance(Link& link) noexcept {
    const bool sends = !is_sending(link) && link.connection->has_unsent();
    if (sends) link.sending.store(true, std::memory_order_relaxed);
    const Call& leader = *link.leader;
    const bool is_first = leader.state == CallState::in_flight && link.in_flight.front() == &leader;
    return {Action::advance, &link, {}, sends, is_first ? leader.count - leader.received : 0};
  }

  Step sleep(Call& call) noexcept {
    Deadline until = call.deadline;
    if (call.state == CallState::queued && has_duty() && queue_.first_attended() == &call) {
      until = (std::min)(until, next_duty());
    }
    call.is_parked = true;
    return {Action::sleep, nullptr, until};
  }

  // Those who were answered together are about to call again: before one of them goes, the others may join.
  bool wants_to_gather() noexcept { return recent_batch_size_ > 1 && yields_.are_cheap<Clock>(); }

  // While a batch is under way it is better to wait a moment for the next one than to go alone.
  bool may_spin(Call& call) noexcept {
    if (!limits_.polls || call.travels_alone() || !batches_under_way()) return false;
    if (call.spins_left < 0) {
      call.spins_left = yields_.are_cheap<Clock>() && adaptive_spin_.should_try() ? most_spins : 0;
    }
    return call.spins_left != 0;
  }

  // Who drives a connection.

  // A free connection for a new call that need not queue at all.
  Link* link_at_once(Call& call) noexcept {
    const bool may = queue_.empty() && !free_.empty() && call.deadline > call.started && recent_batch_size_ < 2;
    return may && !may_spin(call) ? free_.back() : nullptr;
  }

  // A free connection for a queued call. It may go past the first in the queue, whom it cannot take along, only a few
  // times.
  Link* claim(Call& call) noexcept {
    if (free_.empty()) return nullptr;
    Call* const first = queue_.first_attended();
    if (first != &call && (call.travels_alone() || first->travels_alone())) {
      if (first->overtaken == most_overtaken) return nullptr;
      ++first->overtaken;
    }
    return free_.back();
  }

  Link* link_to_start_on(Call& call) noexcept {
    if (free_.empty()) return nullptr;
    Link* const link = free_.back();
    if (call.travels_alone() ? !link->in_flight.empty() || queue_.first_attended() : !has_room(*link, call)) {
      return nullptr;
    }
    return link;
  }

  // On a slow network the next batch is sent while the replies to the last one are on their way, on a connection that
  // is not late itself.
  Link* link_to_send_behind(Call& call) noexcept {
    if (!round_trip_.is_slow() || call.travels_alone() || queue_.front().travels_alone()) return nullptr;
    const Deadline now = Clock::now();
    for (const auto& link : links_) {
      if (may_send_behind(*link) && has_room(*link, queue_.front()) && now >= behind_at(*link) &&
          !is_late(*link, now)) {
        return link.get();
      }
    }
    return nullptr;
  }

  static bool is_sending(const LinkState& link) noexcept { return link.sending.load(std::memory_order_acquire); }
  bool may_send_behind(const Link& link) const noexcept {
    return link.leader && !is_sending(link) && !link.is_exclusive && !link.is_broken && !link.is_wrong_node &&
           !link.leader->travels_alone();
  }
  Deadline behind_at(const Link& link) const noexcept {
    return Deadline(std::chrono::duration_cast<Deadline::duration>(
        std::chrono::nanoseconds(link.sent_at.load(std::memory_order_relaxed)) + round_trip_.spacing()));
  }
  bool is_late(const Link& link, Deadline now) const noexcept {
    return now - link.connection->used() > round_trip_.late();
  }
  static bool has_room(const Link& link, const Call& call) noexcept {
    return link.in_flight.has_room_for(call.count) && link.connection->has_room_for(call.bytes);
  }
  static Link& link_of(const Call& call) noexcept { return static_cast<Link&>(*call.link); }

  // The connection is free no longer.
  void take(Link& link) noexcept {
    if (!free_.empty() && free_.back() == &link) {
      free_.pop_back();
    } else if (const auto place = std::find(free_.begin(), free_.end(), &link); place != free_.end()) {
      free_.erase(place);
    }
    link.needs_check = link.in_flight.empty();
  }

  void lead(Link& link, Call& call) noexcept {
    link.leader = &call;
    link.was_looked_at = false;
    count_batch(link, !call.travels_alone());
  }

  // The call leads the connection, and is sent on it as soon as possible.
  void assign(Link& link, Call& call) noexcept {
    take(link);
    lead(link, call);
    call.state = CallState::assigned;
    call.link = &link;
  }

  void put(Link& link, Call& call) {
    if (link.in_flight.empty()) {
      link.is_timed = true;
      link.connection->begin_batch();
    }
    for (std::size_t i = 0; i < call.count; ++i) link.connection->append(call.commands[i]);
    link.in_flight.push(call);
    link.awaited += call.count;
    call.state = CallState::in_flight;
    call.link = &link;
  }

  // As many of the waiting calls as there is room for.
  void load(Link& link) {
    while (!queue_.empty()) {
      Call& call = queue_.front();
      if (call.travels_alone() || !has_room(link, call)) break;
      queue_.remove(call);
      put(link, call);
    }
    ++stats_.batches;
    recent_batch_size_ = (std::max)(link.in_flight.size(), recent_batch_size_ / 2);
    if (queue_.empty()) return;
    match();  // the queue has another front, and there may be another free connection
    front_changed();
  }

  // A leader who is done sends the next batch where nobody yields, where nobody else can, and after a call that went
  // alone, whose caller might otherwise come back first.
  bool hands_over(Link& link, const Call& call) noexcept {
    if (queue_.empty() || !link.in_flight.empty() || is_sending(link) || link.is_wrong_node) return false;
    const Call& front = queue_.front();
    if (front.travels_alone()) return false;
    return call.travels_alone() || !front.is_attended || !yields_.are_cheap<Clock>();
  }

  // Nobody leads or sends on the connection any more: somebody who waits for a reply does, or it is free, or it goes.
  void settle(Link& link) noexcept {
    if (link.is_broken) return drop(link);
    if (link.is_unusable || (!link.in_flight.empty() && link.awaited == 0)) return drop(link);
    if (Call* successor = link.in_flight.first_attended()) {
      lead(link, *successor);
      return callers_.tell(*successor);
    }
    if (link.in_flight.empty()) {
      link.has_rested = true;
      free_.push_back(&link);
    } else {  // the last choice of those who look for one
      free_.insert(free_.begin(), &link);
    }
  }

  void drop(Link& link) noexcept {
    take(link);
    losses_.store(losses() + 1, std::memory_order_relaxed);
    ++news_.lost;
    link.connection->mark_unusable();
    const auto is_it = [&](const std::unique_ptr<Link>& owned) { return owned.get() == &link; };
    links_.erase(std::find_if(links_.begin(), links_.end(), is_it));
  }

  // While the last attempt to connect failed, there is one attempt at a time, and none before its time has come.
  bool has_room_for_link() const noexcept { return links_.size() + connecting_ < limits_.links; }
  bool may_connect() const noexcept {
    if (!free_.empty() || !has_room_for_link()) return false;
    return !last_failure_ || (connecting_ == 0 && back_off_.may_try(Clock::now()));
  }
  // The queue.

  void begin(Call& call) noexcept {
    if (!call.was_repeated) ++stats_.calls;
    yields_.entered();
  }
  void enqueue(Call& call) noexcept {
    begin(call);
    call.state = CallState::queued;
    queue_.push_back(call);
  }

  // Sees to the calls that wait. To be called whenever there may be something that it can do for them.
  void match() noexcept {
    while (Call* const first = queue_.first_attended()) {
      if (free_.empty()) {
        if (may_connect()) return tell_if_parked(*first);
        if (is_hopeless()) fail_all();
        return;
      }
      if (!first->is_parked || !first->travels_alone()) return tell_if_parked(*first);
      queue_.remove(*first);
      assign(*free_.back(), *first);
      callers_.tell(*first);
    }
  }

  void tell_if_parked(Call& call) noexcept {
    if (call.is_parked) callers_.tell(call);
  }

  // While there is no connection, and the last attempt failed, calls fail at once.
  bool is_hopeless() const noexcept { return links_.empty() && last_failure_; }
  Step fail_all() noexcept {
    while (!queue_.empty()) {
      Call& call = queue_.front();
      queue_.remove(call);
      ++stats_.failed_fast;
      fail(call, last_failure_, false);
    }
    return {Action::leave};
  }

  // The first in the queue sleeps no longer than until it has something to do that comes with time.
  bool has_duty() const noexcept { return last_failure_ || round_trip_.is_slow(); }
  void front_changed() noexcept {
    if (queue_.empty() || !has_duty()) return;
    if (Call* const first = queue_.first_attended()) tell_if_parked(*first);
  }
  Deadline next_duty() const noexcept {
    Deadline next = (Deadline::max)();
    if (last_failure_ && has_room_for_link() && connecting_ == 0) next = back_off_.next();
    if (!round_trip_.is_slow()) return next;
    const Deadline now = Clock::now();
    for (const auto& link : links_) {
      const Deadline at = behind_at(*link);
      if (at > now) next = (std::min)(next, at);
    }
    return next;
  }

  // The end of a call.

  // Hands out what was received; says what is wrong if a reply is nobody's, or does not fit, else null.
  const char* deliver(Link& link) noexcept {
    if (link.received.empty() && link.in_place == 0) return nullptr;
    heard_at_ = link.connection->used();
    if (std::exchange(link.is_timed, false)) {
      const auto sent_at = std::chrono::nanoseconds(link.sent_at.load(std::memory_order_relaxed));
      round_trip_.measured(std::chrono::nanoseconds(heard_at_.time_since_epoch()) - sent_at);
    }
    link.was_looked_at = false;
    const char* problem = nullptr;
    for (; link.in_place != 0 && !problem; --link.in_place) {
      const Call& leader = *link.in_flight.front();
      problem = answer(link, leader.replies[leader.received]);
    }
    for (std::size_t i = 0; i < link.received.size() && !problem; ++i) problem = answer(link, link.received[i]);
    link.in_place = 0;
    link.received.clear();
    return problem;
  }

  // The next reply, which may be where it belongs already.
  const char* answer(Link& link, Reply& reply) noexcept {
    if (link.in_flight.empty()) return "the server sent a reply that nobody asked for";
    Call* const call = link.in_flight.front();
    if (call) {
      const auto expected = call->commands[call->received].answer();
      if (expected && !reply.fits(*expected)) return "the server's answer does not fit the command";
    }
    look_for_wrong_node(link, reply);
    link.in_flight.pop();
    if (!call) return nullptr;
    --link.awaited;
    Reply& place = call->replies[call->received];
    if (&place != &reply) place = std::move(reply);
    if (++call->received == call->count) finish(*call);
    return nullptr;
  }

  void look_for_wrong_node(Link& link, const Reply& reply) const noexcept {
    if (reply.failure().empty() || limits_.is_borrowed) return;
    const std::string_view code = reply.failure().substr(0, reply.failure().find(' '));
    if (code == "READONLY" || code == "MASTERDOWN") link.is_wrong_node = true;
  }

  // A call whose connection broke is tried once more if that can do no harm. Where it is known that another call was to
  // blame, this does not count against it; where the cause is not known, it goes by itself.
  void repeat_or_fail(Call& call, const Failure& failure, bool sent, Cause cause, bool was_by_itself) noexcept {
    const bool counts = cause == Cause::unknown;
    const bool is_harmless =
        cause == Cause::stale || ((!sent || call.is_repeatable()) && !(counts && call.was_repeated));
    if (!is_harmless) {
      return fail(
          call,
          failure.is_loss() ? failure : Failure::loss("the connection was given up for the reply to another command"),
          sent);
    }
    if (sent) {
      ++stats_.repeats;
      ++news_.repeated;
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
      return yields_.finished();
    }
    call.state = CallState::queued;
    queue_.push_front(call);
  }

  // Its time is up, unless it only waited in the queue while nothing came over any connection: then it may connect.
  void overdue(Call& call) noexcept {
    if (call.state != CallState::queued || call.was_extended || call.was_repeated || heard_at_ >= call.started ||
        call.deadline >= call.limit) {
      return give_up(call);
    }
    call.was_extended = true;
    call.deadline = call.limit;
  }

  void give_up(Call& call) noexcept {
    ++stats_.timeouts;
    const bool sent = call.state == CallState::in_flight;
    if (call.state == CallState::queued) {
      queue_.remove(call);
      front_changed();
    } else if (sent) {
      Link& link = link_of(call);
      link.awaited -= link.in_flight.forget(call);
      if (link.leader != &call) call.link = nullptr;
      if (!link.leader && !is_sending(link) && link.awaited == 0) drop(link);
    }
    const Failure failure = Failure::timeout("the time allowed ran out (command_timeout)");
    if (sent) news_.reason = failure;
    fail(call, failure, sent);
    match();
  }

  void fail(Call& call, const Failure& failure, bool sent) noexcept {
    end(call);
    callers_.fail(call, failure, sent);
  }
  void finish(Call& call) noexcept {
    end(call);
    callers_.finish(call);
  }
  void end(Call& call) noexcept {
    yields_.finished();
    if (call.link && call.link->leader != &call) call.link = nullptr;
  }

  void count_batch(LinkState& link, bool counts) noexcept {
    const std::size_t number =
        batches_.load(std::memory_order_relaxed) + (counts ? 1 : 0) - (link.counts_as_batch ? 1 : 0);
    link.counts_as_batch = counts;
    batches_.store(number, std::memory_order_relaxed);
  }

  const Limits limits_;
  Queue queue_;
  Callers callers_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<Link*> free_;               // those that nobody leads; in front those that owe replies to started calls
  std::atomic<std::size_t> batches_{0};   // under way
  std::atomic<std::uint64_t> losses_{0};  // connections that have gone
  std::size_t recent_batch_size_ = 0;     // calls that went together of late
  std::size_t connecting_ = 0;            // attempts under way
  Failure last_failure_;                  // of the last attempt
  BackOff back_off_;
  RoundTrip round_trip_;
  Deadline heard_at_{};  // when the last reply came
  AdaptiveSpin adaptive_spin_;
  TimedYields yields_;
  PoolStats stats_;
  News news_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
