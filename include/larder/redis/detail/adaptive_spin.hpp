// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "../../version.hpp"
#include "clock.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Decides whether to spin for a moment before sleeping: always while that succeeds now and then, ever more seldom while
// it does not. Thread-safe; a race costs no more than a try.
class AdaptiveSpin {
 public:
  bool should_try() noexcept {
    const unsigned skip = skip_.load(std::memory_order_relaxed);
    if (skip != 0) skip_.store(skip - 1, std::memory_order_relaxed);
    return skip == 0;
  }
  void record(bool success) noexcept {
    const unsigned misses = success ? 0 : (std::min)(misses_.load(std::memory_order_relaxed) + 1, most_misses);
    misses_.store(misses, std::memory_order_relaxed);
    if (misses > free_misses) skip_.store(1U << (misses - free_misses), std::memory_order_relaxed);
  }

 private:
  static constexpr unsigned free_misses = 8;
  static constexpr unsigned most_misses = free_misses + 10;

  std::atomic<unsigned> skip_{0};    // how many times not to try
  std::atomic<unsigned> misses_{0};  // tries since the last success
};

// Whether threads may yield their core while they wait. On a quiet machine a yield takes a microsecond, or as long as
// other callers need for their calls. A yield that took long while hardly any call was finished shows that somebody
// else wanted the core, and had it for a whole time slice. Two of those in a row end the calm: nobody yields for ten
// times as long as the yield took, or for twice as long as the last time if the calm had hardly begun. When that is
// over, everybody may yield again. Neighbors who want the core often, and not for long, end the calm when yields have
// taken two milliseconds more than sleeps would have.
//
// Thread-safe; a race costs no more than a yield.
class YieldGauge {
 public:
  using Nanoseconds = std::int64_t;

  // Whether a yield that took `gap`, and ended at `now`, is followed by calm; `finished` calls were finished meanwhile,
  // and `present` are under way.
  bool took(Nanoseconds gap, std::int64_t finished, std::int64_t present, Nanoseconds now) noexcept {
    const Nanoseconds others = gap - present * turn, lost = others - (finished + 2) * sleep;
    if (others > long_yield && finished < 2 * present) {
      took_long(gap, now);
    } else if (lost > 0 && finished < 2 * present) {
      loses(lost, now);
    }
    return resume_at_.load(std::memory_order_relaxed) == 0;
  }

  // `clock()` is asked only where there was no calm.
  template <class Clock>
  bool is_calm(Clock clock) noexcept {
    const Nanoseconds at = resume_at_.load(std::memory_order_relaxed);
    return at == 0 || resumes(at, clock());
  }

  static constexpr Nanoseconds long_yield = 1'000'000;
  static constexpr Nanoseconds longest_pause = 1'000'000'000;

 private:
  static constexpr Nanoseconds sleep = 10'000;  // about what it takes to sleep and be woken, or to finish a call
  static constexpr Nanoseconds turn = 4'000;    // what another caller does at most before it yields in turn
  static constexpr Nanoseconds most_lost = 2'000'000;

  bool resumes(Nanoseconds at, Nanoseconds now) noexcept {
    if (now < at) return false;
    if (resume_at_.compare_exchange_strong(at, 0)) calm_since_.store(now, std::memory_order_relaxed);
    return true;
  }

  void took_long(Nanoseconds gap, Nanoseconds now) noexcept {
    if (resume_at_.load(std::memory_order_relaxed) != 0) return;  // known
    const Nanoseconds began = now - gap;
    if (!has_hardly_begun(began)) {
      const Nanoseconds strike = strike_.load(std::memory_order_relaxed);
      if (began < strike) return;  // the same event, seen by another thread
      strike_.store(now, std::memory_order_relaxed);
      if (began - strike > 10 * gap) return;  // the first for a long time
    }
    end_calm(10 * gap, began, now);
  }

  // A yield took so much longer than it would have taken to sleep. Less than a quarter of the time is no matter.
  void loses(Nanoseconds time, Nanoseconds now) noexcept {
    const Nanoseconds forgotten = (now - lost_at_.load(std::memory_order_relaxed)) / 4;
    const Nanoseconds lost = (std::max)(Nanoseconds{0}, lost_.load(std::memory_order_relaxed) - forgotten) + time;
    lost_at_.store(now, std::memory_order_relaxed);
    lost_.store(lost < most_lost ? lost : 0, std::memory_order_relaxed);
    if (lost >= most_lost && resume_at_.load(std::memory_order_relaxed) == 0) end_calm(10 * lost, now - lost, now);
  }

  bool has_hardly_begun(Nanoseconds at) const noexcept {
    const Nanoseconds last = pause_.load(std::memory_order_relaxed);
    return last != 0 && at - calm_since_.load(std::memory_order_relaxed) < last;
  }

  // What shows that it ended began then.
  void end_calm(Nanoseconds pause, Nanoseconds began, Nanoseconds now) noexcept {
    if (has_hardly_begun(began)) pause = (std::max)(pause, 2 * pause_.load(std::memory_order_relaxed));
    pause = (std::min)(pause, longest_pause);
    pause_.store(pause, std::memory_order_relaxed);
    resume_at_.store(now + pause, std::memory_order_relaxed);
  }

  std::atomic<Nanoseconds> resume_at_{0};   // the end of the pause; 0: calm
  std::atomic<Nanoseconds> pause_{0};       // how long the last one was
  std::atomic<Nanoseconds> calm_since_{0};  // the end of the last one
  std::atomic<Nanoseconds> strike_{0};      // the end of the last long yield
  std::atomic<Nanoseconds> lost_{0};        // by recent yields that were not long, against sleeping
  std::atomic<Nanoseconds> lost_at_{0};     // when that was last so
};

// The yields of all callers of a pool, timed, and the calls that explain how long they take.
class TimedYields {
 public:
  // A call begins and ends; under the lock of the pool.
  void entered() noexcept { add(present_, 1); }
  void finished() noexcept {
    add(present_, -1);
    add(finished_, 1);
  }

  YieldGauge& gauge() noexcept { return gauge_; }

  template <class Clock = std::chrono::steady_clock>
  bool are_cheap() noexcept {
    return gauge_.is_calm([] { return nanoseconds(Clock::now()); });
  }

  // Yields once, without the lock; `now` is the time before it, and then the time after it. Whether yields are still
  // cheap.
  bool yield(TimePoint& now) noexcept {
    const std::int64_t finished = finished_.load(std::memory_order_relaxed);
    std::this_thread::yield();
    const TimePoint end = Clock::now();
    const std::int64_t gap = nanoseconds(end) - nanoseconds(now);
    now = end;
    return gauge_.took(gap, finished_.load(std::memory_order_relaxed) - finished,
                       present_.load(std::memory_order_relaxed), nanoseconds(end));
  }

 private:
  static YieldGauge::Nanoseconds nanoseconds(TimePoint time) noexcept {
    return std::chrono::nanoseconds(time.time_since_epoch()).count();
  }
  static void add(std::atomic<std::int64_t>& counter, std::int64_t number) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + number, std::memory_order_relaxed);
  }

  YieldGauge gauge_;
  std::atomic<std::int64_t> present_{0};  // calls under way
  std::atomic<std::int64_t> finished_{0};
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
