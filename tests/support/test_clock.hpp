#pragma once

#include <atomic>
#include <chrono>
#include <larder/load.hpp>
#include <larder/memory_cache.hpp>

namespace larder::testing {

/// A clock of a MemoryCache that stands still until a test moves it.
struct TestClock {
  using TimePoint = std::chrono::steady_clock::time_point;

  static inline std::atomic<TimePoint> time{TimePoint(std::chrono::hours(1))};

  static TimePoint now() { return time; }
  static void advance(std::chrono::nanoseconds by) { time = time.load() + by; }
  static MemoryCache::Options drives(MemoryCache::Options options = {}) {
    options.now = &TestClock::now;
    return options;
  }
};

inline LoadOptions keeping(std::chrono::milliseconds keep_stale,
                           std::chrono::milliseconds retry_after = std::chrono::milliseconds(0)) {
  LoadOptions options;
  options.keep_stale = keep_stale;
  options.retry_after = retry_after;
  return options;
}

}  // namespace larder::testing
