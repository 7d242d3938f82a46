// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "../../version.hpp"
#include "../reply.hpp"
#include "call.hpp"
#include "calls.hpp"
#include "clock.hpp"
#include "link.hpp"
#include "round_trip.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// The connections of a pool, and who drives them. Under the lock of the pool.
template <class Connection>
class Links {
 public:
  using Link = detail::Link<Connection>;

  Links(std::size_t most, bool are_borrowed, Calls& calls) : are_borrowed_(are_borrowed), calls_(calls) {
    links_.reserve(most);
    free_.reserve(most);
  }

  bool empty() const noexcept { return links_.empty(); }
  std::size_t size() const noexcept { return links_.size(); }
  // How many have gone; may be asked without the lock.
  std::uint64_t losses() const noexcept { return losses_.load(std::memory_order_relaxed); }
  // Whether there is one whose leader takes others along; may be asked without the lock.
  bool has_batches() const noexcept { return batches_.load(std::memory_order_relaxed) != 0; }
  // When the last reply came.
  TimePoint heard_at() const noexcept { return heard_at_; }
  // One that nobody leads or sends on, or null. It may owe replies to calls that were started.
  Link* free_one() const noexcept { return free_.empty() ? nullptr : free_.back(); }

  template <class Visit>
  void for_each(Visit visit) {
    for (const auto& link : links_) visit(*link);
  }

  static Link& of(const Call& call) noexcept { return static_cast<Link&>(*call.link); }
  static bool is_sending(const LinkState& link) noexcept { return link.sending.load(std::memory_order_acquire); }
  static bool has_room(const Link& link, const Call& call) noexcept {
    return link.in_flight.has_room_for(call.count) && link.connection->has_room_for(call.bytes);
  }

  Link& add(std::unique_ptr<Link> made) {
    links_.push_back(std::move(made));
    return *links_.back();
  }

  // It is free no longer.
  void take(Link& link) noexcept {
    if (!free_.empty() && free_.back() == &link) {
      free_.pop_back();
    } else if (const auto place = std::find(free_.begin(), free_.end(), &link); place != free_.end()) {
      free_.erase(place);
    }
    link.needs_check = link.in_flight.empty();
    if (link.needs_check && std::exchange(link.is_doubtful, false)) link.connection->doubt();
  }

  void lead(Link& link, Call& call) noexcept {
    link.leader = &call;
    link.was_looked_at = false;
    count_batch(link, !call.travels_alone());
  }

  // The leader leaves.
  Call* unlead(Link& link) noexcept {
    Call* const leader = std::exchange(link.leader, nullptr);
    if (leader) leader->link = nullptr;
    count_batch(link, false);
    return leader;
  }

  // The call leads it, and is sent on it as soon as possible.
  void assign(Link& link, Call& call) noexcept {
    take(link);
    lead(link, call);
    call.state = CallState::assigned;
    call.link = &link;
  }

  // The call is sent with what goes next.
  void put(Link& link, Call& call) noexcept {
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

  // Nobody leads or sends on it any more: somebody who waits for a reply does, or it is free, or it goes.
  void release(Link& link) noexcept {
    if (link.is_broken || link.is_unusable || (!link.in_flight.empty() && link.awaited == 0)) return drop(link);
    if (Call* successor = link.in_flight.first_attended()) {
      lead(link, *successor);
      return calls_.notify(*successor);
    }
    if (link.in_flight.empty()) {
      if (link.is_retired) return drop(link);
      link.has_rested = true;
      free_.push_back(&link);
    } else {  // the last choice of those who look for one
      free_.insert(free_.begin(), &link);
    }
  }

  void drop(Link& link) noexcept {
    take(link);
    losses_.store(losses() + 1, std::memory_order_relaxed);
    ++calls_.events.lost;
    link.connection->mark_unusable();
    const auto is_it = [&](const std::unique_ptr<Link>& owned) { return owned.get() == &link; };
    links_.erase(std::find_if(links_.begin(), links_.end(), is_it));
  }

  // None of those that are there is used for another call; the idle ones go.
  void retire() noexcept {
    for (const auto& link : links_) link->is_wrong_node = link->is_retired = true;
    for (std::size_t i = free_.size(); i-- != 0;) {
      if (free_[i]->in_flight.empty()) drop(*free_[i]);
    }
  }

  // What has broken one of them may have broken all.
  void doubt_all() noexcept {
    for (const auto& link : links_) link->is_doubtful = true;
  }

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

  // Such a server is not to be asked again.
  void look_for_wrong_node(Link& link, const Reply& reply) const noexcept {
    if (reply.failure().empty() || are_borrowed_) return;
    const std::string_view code = reply.failure().substr(0, reply.failure().find(' '));
    if (code == "READONLY" || code == "MASTERDOWN") link.is_wrong_node = true;
  }

  // On a slow network the next batch is sent while the replies to the last one are on their way.

  bool are_slow() const noexcept { return round_trip_.is_slow(); }

  // One that the call can be sent on now, behind what is under way there; not one that is late.
  Link* one_to_send_behind(const Call& call, TimePoint now) const noexcept {
    for (const auto& link : links_) {
      const bool is_late = now - link->connection->used() > round_trip_.late();
      if (may_send_behind(*link) && has_room(*link, call) && now >= behind_at(*link) && !is_late) return link.get();
    }
    return nullptr;
  }
  // When to look for one again.
  TimePoint next_behind(TimePoint now) const noexcept {
    TimePoint next = (TimePoint::max)();
    for (const auto& link : links_) {
      const TimePoint at = behind_at(*link);
      if (at > now) next = (std::min)(next, at);
    }
    return next;
  }

 private:
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
    if (++call->received == call->count) calls_.finish(*call);
    return nullptr;
  }

  static bool may_send_behind(const Link& link) noexcept {
    return link.leader && !is_sending(link) && !link.is_exclusive && !link.is_broken && !link.is_wrong_node &&
           !link.is_doubtful && !link.leader->travels_alone();
  }
  TimePoint behind_at(const Link& link) const noexcept {
    return TimePoint(std::chrono::duration_cast<TimePoint::duration>(
        std::chrono::nanoseconds(link.sent_at.load(std::memory_order_relaxed)) + round_trip_.spacing()));
  }

  void count_batch(LinkState& link, bool counts) noexcept {
    const std::size_t number =
        batches_.load(std::memory_order_relaxed) + (counts ? 1 : 0) - (link.counts_as_batch ? 1 : 0);
    link.counts_as_batch = counts;
    batches_.store(number, std::memory_order_relaxed);
  }

  const bool are_borrowed_;
  Calls& calls_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<Link*> free_;               // in front those that owe replies to started calls
  std::atomic<std::size_t> batches_{0};   // led by calls that take others along
  std::atomic<std::uint64_t> losses_{0};  // those that have gone
  RoundTrip round_trip_;
  TimePoint heard_at_{};  // when the last reply came
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
