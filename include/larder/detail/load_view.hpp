// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../codec.hpp"
#include "../error.hpp"
#include "../expiry.hpp"
#include "../load.hpp"
#include "../observer.hpp"
#include "../statistics.hpp"
#include "../version.hpp"
#include "cache_hooks.hpp"
#include "loading.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// What LoadStats tells.
struct LoadCounters {
  using Counter = std::atomic<std::uint64_t>;
  Counter loads{0}, failures{0}, joined{0}, voided{0}, stale{0}, refreshes{0}, undecodable{0}, nanoseconds{0};

  LoadStats stats() const {
    constexpr auto relaxed = std::memory_order_relaxed;
    LoadStats stats;
    stats.loads = loads.load(relaxed);
    stats.failures = failures.load(relaxed);
    stats.joined = joined.load(relaxed);
    stats.voided = voided.load(relaxed);
    stats.stale = stale.load(relaxed);
    stats.refreshes = refreshes.load(relaxed);
    stats.undecodable = undecodable.load(relaxed);
    stats.load_time = std::chrono::nanoseconds(nanoseconds.load(relaxed));
    return stats;
  }
};

inline const LoadOptions default_load_options;

// Whose loads they are: a cache, and how and for whom it is loaded.
struct LoadView {
  BaseCache& cache;
  const LoadOptions& options = default_load_options;
  LoadCounters* counters = nullptr;  // null: nobody wants to know

  void count(LoadCounters::Counter LoadCounters::*which, std::uint64_t number = 1) const noexcept {
    if (counters != nullptr) (counters->*which).fetch_add(number, std::memory_order_relaxed);
  }
  void cache_failed(std::string_view operation, const Error& error) const noexcept {
    if (options.observer) options.observer->cache_failed(operation, error);
  }
  void load_failed(std::string_view key, const std::exception_ptr& error) const noexcept {
    count(&LoadCounters::failures);
    if (options.observer) options.observer->load_failed(key, error);
  }
  // The source has given a value: what failed before counts no more.
  void load_succeeded(std::string_view key) const {
    FlightTable& known = table();
    if (known.recent.find() != nullptr) known.recent.get().forget_failure(FlightTable::hash_of(key));
  }
  void undecodable(std::string_view key) const noexcept {
    count(&LoadCounters::undecodable);
    if (options.observer) options.observer->undecodable(key);
  }
  void took(LoadClock::duration time) const noexcept {
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    count(&LoadCounters::nanoseconds, static_cast<std::uint64_t>(nanoseconds));
  }
  WaitLimit wait_limit() const { return {LoadClock::now(), options.max_wait}; }
  FlightTable& table() const { return CacheHooks::loads(cache).table(); }
  const void* layer() const noexcept { return CacheHooks::loads(cache).layer(); }
  bool must_not_retry(std::string_view key) const {
    const RecentLoads* const recent = table().recent.find();
    return recent != nullptr && recent->must_not_retry(FlightTable::hash_of(key));
  }
};

// What a read of the cache found.
struct Found {
  std::optional<std::string> bytes = {};
  std::optional<std::chrono::milliseconds> time_left = {};  // until it is stale
  bool fresh = false;                                       // there, and not past its expiry
  bool failed = false;                                      // the cache could not tell
};

// Reads a key with the time it has left. A single entry that cannot tell is stale, if any is.
inline void look_at_entry(const LoadView& view, std::string_view key, Found& found) {
  using Milliseconds = std::chrono::milliseconds;
  found.bytes = CacheHooks::get_entry(view.cache, key, found.time_left);
  if (!found.bytes) return;
  if (found.time_left && *found.time_left != (Milliseconds::max)()) *found.time_left -= view.options.keep_stale;
  found.fresh = found.time_left ? *found.time_left > Milliseconds::zero() : view.options.keep_stale.count() == 0;
}

// Reads a key. An error of the cache is a miss that failed; so is a miss behind which a decorator hides one.
inline Found look(const LoadView& view, std::string_view key, bool with_time = false) {
  Found found;
  const auto hidden = CacheHooks::hidden_failures(view.cache);
  try {
    if (with_time || view.options.keep_stale.count() > 0) {
      look_at_entry(view, key, found);
    } else {
      found.bytes = CacheHooks::get(view.cache, key);
      found.fresh = found.bytes.has_value();
    }
  } catch (const InvalidArgument&) {
    throw;
  } catch (const Error& error) {
    found.failed = true;
    view.cache_failed("get", error);
  }
  if (!found.bytes && CacheHooks::hidden_failures(view.cache) != hidden) found.failed = true;
  return found;
}

// An expiry of so long, as the view stores it: shortened at random, and longer by the time that stale values are kept.
inline CacheHooks::Ttl adjusted(const LoadView& view, CacheHooks::Ttl left) {
  using Milliseconds = std::chrono::milliseconds;
  if (!left || left->count() <= 0) return left;
  if (view.options.jitter > 0) {
    const auto part = 1 - view.options.jitter * RecentLoads::random();
    left = (std::max)(Milliseconds(1), ceil_saturated<Milliseconds>(*left * part));
  }
  const auto keep = view.options.keep_stale;
  return *left < (Milliseconds::max)() - keep ? *left + keep : (Milliseconds::max)();
}

// After a change that did not wait for a store.
inline void take_back(const LoadView& view, std::string_view key) {
  try {
    CacheHooks::erase(view.cache, key);
  } catch (const Error& error) {
    view.cache_failed("erase", error);
  }
}

// The options, if they are in range.
inline LoadOptions checked(LoadOptions options, const BaseCache& cache) {
  const auto check = [](bool right, const char* what) {
    if (!right) throw InvalidArgument(std::string("LoadOptions: ") + what);
  };
  check(options.max_wait.count() >= 0, "max_wait must not be negative");
  check(options.keep_stale.count() >= 0, "keep_stale must not be negative");
  check(options.retry_after.count() >= 0, "retry_after must not be negative");
  check(options.early_refresh >= 0 && std::isfinite(options.early_refresh),
        "early_refresh must be 0 or a positive number");
  check(options.jitter >= 0 && options.jitter <= 1, "jitter must be between 0 and 1");
  check(options.keep_stale.count() == 0 || CacheHooks::tells_time(cache),
        "keep_stale needs a cache that can tell how long a value is kept");
  const std::chrono::milliseconds year = std::chrono::hours(24 * 365);  // far from overflow, and as good as forever
  options.max_wait = (std::min)(options.max_wait, year);
  options.retry_after = (std::min)(options.retry_after, year);
  return options;
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
