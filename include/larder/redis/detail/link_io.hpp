// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "../../error.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "adaptive_spin.hpp"
#include "call.hpp"
#include "clock.hpp"
#include "connection.hpp"
#include "hiredis.hpp"
#include "link.hpp"

// What a thread does on a connection without the lock of the pool.

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

using PoolLink = Link<Connection>;

// The next replies of a connection that belong to its leader: they need not go through the hands of others.
struct OwnReplies {
  Reply* first = nullptr;
  std::size_t count = 0;
};

inline std::int64_t since_epoch(TimePoint time) noexcept {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

// A call that has been under way for a while does not know what time it is.
inline bool is_sound(const PoolLink& link, const Call& call) noexcept {
  const TimePoint now = call.was_repeated ? Clock::now() : call.started;
  const bool is_old = link.has_rested && link.connection->is_old(now);
  return !link.is_wrong_node && !is_old && link.connection->is_sound(now);
}

// Takes the replies that have come.
inline void collect(PoolLink& link, const OwnReplies& own) {
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

// `sends`: the thread has the sending half, and gives it back as soon as all is sent.
inline bool send_and_receive(PoolLink& link, Deadline deadline, bool& sends, const OwnReplies& own,
                             TimedYields& yields) {
  if (sends) {
    const auto received = [&] {
      collect(link, own);
      if (link.received.size() == InFlight::capacity) throw ProtocolError("the server sent replies nobody asked for");
    };
    if (!link.connection->flush(deadline, received)) return false;
  }
  const TimePoint now = Clock::now();
  if (std::exchange(sends, false)) {
    link.sent_at.store(since_epoch(now), std::memory_order_relaxed);
    link.sending.store(false, std::memory_order_release);
  }
  const bool in_time = link.connection->receive(deadline, now, &yields);
  collect(link, own);
  return in_time;
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
