// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "../../version.hpp"
#include "call.hpp"
#include "failure.hpp"
#include "queue.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// The threads that have to be woken when the lock of the pool has been released. They need not wait for it.
class Wakes {
 public:
  bool empty() const noexcept { return told_count_ == 0 && answered_.empty(); }

  void add_told(Call& call) noexcept {
    if (told_count_ == told_.size()) return Waiter::wake(call.waiter.address());
    told_[told_count_++] = call.waiter.address();
  }
  void add_answered(Call& call) noexcept { answered_.push_back(call); }

  // Without the lock: first those who have something to do.
  void wake_all() noexcept {
    for (std::size_t i = 0; i < told_count_; ++i) Waiter::wake(told_[i]);
    while (!answered_.empty()) {
      Call& call = answered_.front();
      answered_.remove(call);
      const Waiter::Address address = call.waiter.address();
      call.waiter.set_done();
      Waiter::wake(address);
    }
  }

 private:
  std::array<Waiter::Address, 16> told_{};
  std::size_t told_count_ = 0;
  Queue answered_;
};

// Tells callers what became of their calls, and that there is something to do for them. Under the lock of the pool.
class Callers {
 public:
  // The last touch of a call unless it is that of the thread that runs this: its own may leave at once.
  void finish(Call& call) noexcept {
    if (call.is_parked) {
      call.state = CallState::answered;
      wakes_.add_answered(call);
    } else {
      call.state = CallState::done;
      call.waiter.set_done();
    }
  }

  void fail(Call& call, const Failure& failure, bool was_sent) noexcept {
    call.failure = failure;
    call.was_sent = call.was_sent || was_sent;
    finish(call);
  }

  // Its thread should look what there is to do.
  void tell(Call& call) noexcept {
    call.waiter.tell();
    if (call.is_parked) wakes_.add_told(call);
  }

  Wakes take_wakes() noexcept { return std::exchange(wakes_, Wakes()); }
  bool has_wakes() const noexcept { return !wakes_.empty(); }

 private:
  Wakes wakes_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
