// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>

#include "../command.hpp"
#include "../options.hpp"
#include "../pool.hpp"
#include "../reply.hpp"
#include "call.hpp"
#include "call_error.hpp"
#include "cancellation.hpp"
#include "hiredis.hpp"
#include "scheduler.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// Commands that are sent to a pool now, if that is possible without waiting, and whose replies are taken later, so that
// several servers can work at the same time. Others who use the connection are not held up meanwhile. The commands and
// the room for the replies have to outlive it.
//
// Its constructor and finish() have to run in the same process. Used by one thread.
class StartedCall {
 public:
  // Throws what Pool::run() does before anything is sent.
  StartedCall(Pool& pool, const Command* commands, std::size_t count, Reply* replies,
              std::optional<Deadline> deadline = std::nullopt)
      : options_(pool.options_),
        scheduler_(pool.scheduler()),
        call_(pool.make_call(commands, count, replies, deadline)) {
    Pool::refuse_those_for_own_connections(commands, count);
    const NoCancellation until_end;
    scheduler_.start(call_);
  }
  StartedCall(const StartedCall&) = delete;
  StartedCall& operator=(const StartedCall&) = delete;
  ~StartedCall() {
    if (!was_finished_) scheduler_.abandon(call_);
  }

  // Whether finish() has nothing to wait for, as far as this is known without looking at the connection.
  bool is_done() const noexcept { return call_.waiter.is_done(); }

  // Waits for the replies. Throws what Pool::run() does.
  void finish() {
    const NoCancellation until_end;
    was_finished_ = true;
    scheduler_.finish(call_);
    if (call_.failure) throw_failure_of(call_, scheduler_.address(), options_);
  }

 private:
  const Options& options_;
  Scheduler& scheduler_;
  Call call_;
  bool was_finished_ = false;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
