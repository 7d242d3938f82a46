// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "../../error.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "adaptive_spin.hpp"
#include "call.hpp"
#include "clock.hpp"
#include "connection.hpp"
#include "connector.hpp"
#include "failure.hpp"
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

// What came of connecting for a call.
struct OpenedLink {
  std::unique_ptr<PoolLink> link;  // null: there is a failure
  Failure failure;
  Deadline limit;          // of the call from now on
  bool was_short = false;  // it did not have the whole connect_timeout
};

// The time that it takes to look up a name is not counted, unless the caller has set a deadline.
inline OpenedLink open_link(Connector& connector, const Options& options, const Call& call) noexcept {
  const TimePoint began = Clock::now();
  OpenedLink opened;
  opened.limit = call.limit;
  try {
    const auto attempt = connector.begin();
    const TimePoint now = Clock::now();
    if (!call.is_bounded) opened.limit += now - began;
    opened.was_short = opened.limit < now + options.connect_timeout;
    opened.link = std::make_unique<PoolLink>(attempt->finish((std::min)(now + options.connect_timeout, opened.limit)));
  } catch (...) {
    opened.failure = Failure::current().while_connecting();
  }
  return opened;
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
