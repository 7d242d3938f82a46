// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

#include "../../version.hpp"
#include "../options.hpp"
#include "clock.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Lets in one caller at a time to ask how things stand, and the next one not before a pause has passed. Thread-safe.
class RefreshGate {
 public:
  // A caller that is let in leaves at the end of its scope.
  class Pass {
   public:
    Pass() noexcept = default;
    explicit Pass(RefreshGate* gate) noexcept : gate_(gate) {}
    Pass(Pass&& other) noexcept
        : pauses(other.pauses), was_in_vain(other.was_in_vain), gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (gate_) gate_->leave(pauses, was_in_vain);
    }

    explicit operator bool() const noexcept { return gate_; }

    // The pause afterwards, in units of 100 ms.
    int pauses = 1;
    // Whether a caller who could not go on still cannot.
    bool was_in_vain = false;

   private:
    RefreshGate* gate_ = nullptr;
  };

  // In passing: no pass while somebody is inside, or in the pause.
  Pass enter(TimePoint now) {
    const std::lock_guard<std::mutex> hold(mutex_);
    return pass(!is_taken_ && now >= next_);
  }

  // The same for a caller who cannot go on without the news: waits for somebody who is inside, who gets them.
  Pass enter_or_wait(Deadline deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (is_taken_) {
      left_.wait_until(lock, deadline, [this] { return !is_taken_; });
      return Pass();
    }
    return pass(Clock::now() >= next_);
  }

  // The same, and waits out the pause, too, unless another one who could not go on has just asked in vain. No pass as
  // soon as the news `is_known`.
  template <class IsKnown>
  Pass enter_unless(Deadline deadline, IsKnown is_known) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!is_known()) {
      const TimePoint now = Clock::now();
      if (!is_taken_ && now >= next_) return pass(true);
      if (now >= deadline || (!is_taken_ && was_in_vain_)) break;
      left_.wait_until(lock, is_taken_ ? deadline : (std::min)(deadline, next_));
    }
    return Pass();
  }

  // In any case, unless the time runs out.
  Pass enter_anyway(Deadline deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    return pass(left_.wait_until(lock, deadline, [this] { return !is_taken_; }));
  }

  // For who is inside.
  unsigned random() { return static_cast<unsigned>(random_()); }

 private:
  Pass pass(bool is_let_in) noexcept {
    if (is_let_in) is_taken_ = true;
    return Pass(is_let_in ? this : nullptr);
  }

  // The pause is longer by a random part, so that the clients of a server do not ask at the same time.
  void leave(int pauses, bool was_in_vain) noexcept {
    const std::lock_guard<std::mutex> hold(mutex_);
    next_ = Clock::now() + pauses * std::chrono::milliseconds(100 + random_() % 50);
    is_taken_ = false;
    was_in_vain_ = was_in_vain;
    left_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable left_;
  bool is_taken_ = false;
  bool was_in_vain_ = false;  // the last visit
  TimePoint next_{};
  std::minstd_rand random_{std::random_device()()};
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
