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
#include "clock.hpp"
#include "hiredis.hpp"
#include "scheduler.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// A call of a pool in steps: with start(), its commands are sent now if that is possible without waiting, so that
// several servers can work at the same time before finish() takes the replies. Others who use the connection are not
// held up meanwhile. The commands and the room for the replies have to outlive it.
//
// All of it has to run in the same process, and in one thread.
class PoolCall {
 public:
  // Throws what Pool::run() does before anything is sent.
  PoolCall(Pool& pool, const Command* commands, std::size_t count, Reply* replies,
           std::optional<Deadline> deadline = std::nullopt)
      : options_(pool.options_),
        scheduler_(pool.scheduler()),
        call_(pool.make_call(Clock::now(), commands, count, replies, deadline)) {
    Pool::refuse_those_for_own_connections(commands, count);
  }
  PoolCall(const PoolCall&) = delete;
  PoolCall& operator=(const PoolCall&) = delete;
  ~PoolCall() {
    if (must_finish_) scheduler_.abandon(call_);
  }

  void start() noexcept {
    const NoCancellation until_end;
    must_finish_ = true;
    scheduler_.start(call_);
  }

  // Waits for the replies. Throws what Pool::run() does.
  void finish() {
    const NoCancellation until_end;
    must_finish_ = false;
    scheduler_.finish(call_);
    if (call_.failure) throw_failure_of(call_, scheduler_.address(), options_);
  }

  // The same, until `end` in place of the deadline.
  void finish(Deadline end) {
    call_.deadline = call_.limit = end;
    finish();
  }

  // Pool::run() of one command, for which the time allowed counts from `began`.
  static void run_since(TimePoint began, Pool& pool, const Command& command, Reply& reply,
                        std::optional<Deadline> deadline) {
    if (command.needs_own_connection()) Pool::refuse(command);
    const NoCancellation until_end;
    Call call = pool.make_call(began, &command, 1, &reply, deadline);
    Scheduler& scheduler = pool.scheduler();
    scheduler.finish(call);
    if (call.failure) throw_failure_of(call, scheduler.address(), pool.options_);
  }

  // Calls made from now on go over new connections, to where the host's name leads then; the idle ones are closed.
  static void retire_connections(Pool& pool, const char* reason) { pool.scheduler().retire_connections(reason); }

 private:
  const Options& options_;
  Scheduler& scheduler_;
  Call call_;
  bool must_finish_ = false;  // or leave: others know of it
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
