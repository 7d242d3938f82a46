// SPDX-License-Identifier: MIT
#pragma once

#include <hiredis/hiredis.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "../detail/process.hpp"
#include "../error.hpp"
#include "../statistics.hpp"
#include "client.hpp"
#include "command.hpp"
#include "detail/call.hpp"
#include "detail/call_error.hpp"
#include "detail/cancellation.hpp"
#include "detail/clock.hpp"
#include "detail/hiredis.hpp"
#include "detail/scheduler.hpp"
#include "detail/socket.hpp"
#include "detail/stream.hpp"
#include "options.hpp"
#include "reply.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {
class PoolCall;
}
}  // namespace larder::redis::detail

namespace larder::redis {
inline namespace LARDER_HIREDIS_ABI {

/// Shares a few connections among any number of threads: none waits for a free one. A call that finds all of them busy
/// joins the next batch, which is sent in one write. There is no background thread.
///
/// A call ends within command_timeout, or within connect_timeout + command_timeout if it has to connect, whatever the
/// server and the network do; looking up a host name takes the time that the system's resolver takes. When a connection
/// breaks, commands that may be repeated are tried once more on another one; the message of the error says where the
/// outcome is unknown. While the server cannot be reached, calls fail at once between attempts to connect, at
/// intervals that grow from about 50 ms to 1 s.
///
/// Thread-safe. After fork() the child opens connections of its own. No call may be under way when it is destroyed.
class Pool : public Client {
 public:
  /// Connects when there is something to do. Throws InvalidArgument if an option cannot be used.
  explicit Pool(Options options) : options_(std::move(options)), borrowed_(nullptr) {
    options_.validate();
    larder::detail::watch_forks();
    scheduler_ = new detail::Scheduler(options_, borrowed_);
  }

  /// Uses a connected, blocking context, which stays the caller's and must outlive the pool, and which nothing else
  /// uses during a call. The time allowed for a command is the receive timeout of its socket (redisSetTimeout()), else
  /// the default. Throws InvalidArgument if it cannot be used.
  explicit Pool(redisContext* borrowed) : borrowed_(borrowed) {
    detail::Stream::validate(borrowed);
    constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 365);
    const auto timeout = (std::min)(detail::receive_timeout(borrowed->fd), longest);
    if (timeout.count() != 0) options_.command_timeout = timeout;
    options_.validate();
    larder::detail::watch_forks();
    scheduler_ = new detail::Scheduler(options_, borrowed_);
  }

  ~Pool() override {
    const detail::Scheduler* scheduler = scheduler_.load();
    if (scheduler->process == larder::detail::process_generation()) delete scheduler;
  }

  /// What it has counted in this process.
  PoolStats stats() const noexcept { return scheduler_.load(std::memory_order_acquire)->stats(); }

  /// Another number when a connection has been lost or given up since, or this is a forked child.
  std::uint64_t generation() const noexcept override {
    return scheduler_.load(std::memory_order_acquire)->generation();
  }

 private:
  friend class detail::PoolCall;

  void do_run(const Command* commands, std::size_t count, Reply* replies, std::optional<Deadline> deadline) override {
    refuse_those_for_own_connections(commands, count);
    const detail::NoCancellation until_end;
    detail::Call call = make_call(detail::Clock::now(), commands, count, replies, deadline);
    detail::Scheduler& its_scheduler = scheduler();
    its_scheduler.finish(call);
    if (call.failure) detail::throw_failure_of(call, its_scheduler.address(), options_);
  }

  static void refuse_those_for_own_connections(const Command* commands, std::size_t count) {
    for (const Command* command = commands; command != commands + count; ++command) {
      if (command->needs_own_connection()) refuse(*command);
    }
  }
  [[noreturn]] static void refuse(const Command& command) {
    throw InvalidArgument(std::string(command.name()) +
                          " changes its connection or keeps it busy, and this client's connections are shared");
  }

  detail::Call make_call(detail::TimePoint began, const Command* commands, std::size_t count, Reply* replies,
                         std::optional<Deadline> deadline) const noexcept {
    if (deadline) return {commands, count, replies, began, *deadline, *deadline};
    const auto end = began + options_.command_timeout;
    return {commands, count, replies, began, end, end + options_.connect_timeout};
  }

  // That of this process.
  detail::Scheduler& scheduler() {
    detail::Scheduler* const scheduler = scheduler_.load(std::memory_order_acquire);
    return scheduler->process == larder::detail::process_generation() ? *scheduler : replace(scheduler);
  }
  // A forked child cannot use its parent's, nor even free it: another thread may have been at work on it.
  detail::Scheduler& replace(detail::Scheduler* of_parent) {
    if (borrowed_) throw ConnectionError("redisContext: belongs to the parent process; connect anew after fork()");
    auto* const fresh = new detail::Scheduler(options_, nullptr);
    if (scheduler_.compare_exchange_strong(of_parent, fresh)) return *fresh;
    delete fresh;
    return *of_parent;
  }

  Options options_;
  redisContext* const borrowed_;
  std::atomic<detail::Scheduler*> scheduler_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis
