// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>

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
    Pass(Pass&& other) noexcept : gate_(other.gate_) { other.gate_ = nullptr; }
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (gate_) gate_->leave(pauses);
    }

    explicit operator bool() const noexcept { return gate_; }

    // The pause afterwards, in units of 100 ms.
    int pauses = 1;

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
  void leave(int pauses) noexcept {
    const std::lock_guard<std::mutex> hold(mutex_);
    next_ = Clock::now() + pauses * std::chrono::milliseconds(100 + random_() % 50);
    is_taken_ = false;
    left_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable left_;
  bool is_taken_ = false;
  TimePoint next_{};
  std::minstd_rand random_{std::random_device()()};
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
