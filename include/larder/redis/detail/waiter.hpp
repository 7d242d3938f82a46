// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#endif

#include "../../version.hpp"
#include "../options.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// What the thread of a call is notified of, and where it sleeps until then.
//
// notify() and set_done() do not wake a sleeper: wake() does, with an address taken before. set_done() is the last
// touch of the object: as soon as it is visible, the sleeping thread may destroy it. wake() uses nothing but the
// address.

#ifdef __linux__

// One futex word.
class FutexWaiter {
 public:
  using Address = void*;

  bool is_done() const noexcept { return word_.load(std::memory_order_acquire) == done; }
  bool is_notified() const noexcept { return word_.load(std::memory_order_relaxed) == notified; }

  // It should look again.
  void notify() noexcept {
    std::uint32_t expected = nothing;
    word_.compare_exchange_strong(expected, notified, std::memory_order_relaxed);
  }
  // Whether it was notified; it no longer is.
  bool clear() noexcept {
    std::uint32_t expected = notified;
    return word_.compare_exchange_strong(expected, nothing, std::memory_order_relaxed);
  }
  void set_done() noexcept { word_.store(done, std::memory_order_release); }

  Address address() noexcept { return &word_; }
  static void wake(Address word) noexcept { ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }

  // Until it is notified or done; false if the deadline came first.
  bool sleep_until(Deadline deadline) noexcept {
    const auto time = std::chrono::nanoseconds(deadline.time_since_epoch()).count();
    const timespec at{static_cast<time_t>(time / 1'000'000'000), static_cast<long>(time % 1'000'000'000)};
    while (word_.load(std::memory_order_acquire) == nothing) {
      const long failed = ::syscall(SYS_futex, &word_, FUTEX_WAIT_BITSET_PRIVATE, nothing, &at, nullptr,
                                    FUTEX_BITSET_MATCH_ANY);  // by the monotonic clock
      if (failed != 0 && errno == ETIMEDOUT) return word_.load(std::memory_order_acquire) != nothing;
    }
    return true;
  }

 private:
  enum : std::uint32_t { nothing, notified, done };

  std::atomic<std::uint32_t> word_{nothing};
  static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);
};

#endif

// The same with what C++ has.
class PortableWaiter {
 public:
  using Address = void*;

  PortableWaiter() = default;
  PortableWaiter(const PortableWaiter&) = delete;
  PortableWaiter& operator=(const PortableWaiter&) = delete;
  ~PortableWaiter() { const std::lock_guard<std::mutex> after_set_done(mutex_); }

  bool is_done() const noexcept { return state_.load(std::memory_order_acquire) == State::done; }
  bool is_notified() const noexcept { return state_.load(std::memory_order_relaxed) == State::notified; }

  void notify() noexcept { set(State::notified); }
  bool clear() noexcept {
    const std::lock_guard<std::mutex> hold(mutex_);
    State expected = State::notified;
    return state_.compare_exchange_strong(expected, State::nothing);
  }
  void set_done() noexcept { set(State::done); }

  Address address() noexcept { return nullptr; }
  static void wake(Address) noexcept {}  // set() did it: later there may be nothing left to wake

  bool sleep_until(Deadline deadline) noexcept {
    std::unique_lock<std::mutex> hold(mutex_);
    return changed_.wait_until(hold, deadline, [&] { return state_.load() != State::nothing; });
  }

 private:
  enum class State : unsigned char { nothing, notified, done };

  void set(State state) noexcept {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (state_.load() == State::done) return;
    state_.store(state, std::memory_order_release);
    changed_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<State> state_{State::nothing};
};

#ifdef __linux__
using Waiter = FutexWaiter;
#else
using Waiter = PortableWaiter;
#endif

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
