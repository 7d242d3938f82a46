// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base_cache.hpp"
#include "detail/read_mostly_lock.hpp"
#include "detail/sieve_table.hpp"
#include "error.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// A cache in the memory of this process, bounded by bytes. When it is full it evicts by SIEVE (Zhang et al., "SIEVE is
/// Simpler than LRU", NSDI 2024), which hits more often than LRU and lets hits go on side by side: a hit sets a flag
/// under a shared lock. Expired entries are never returned, and later writes free them; there is no thread of its own.
/// Time is that of a monotonic clock.
///
/// Besides std::bad_alloc, which leaves it usable, only the constructor throws. Keys that an adversary chooses can be
/// made to collide (they are hashed with std::hash), which slows calls down.
class MemoryCache : public BaseCache {
 public:
  /// How much memory to use, and how.
  struct Options {
    /// The most memory to use, in bytes: keys, values, and all that it takes to keep them. What malloc holds back for
    /// later is not counted (with glibc and many writing threads, up to half as much again).
    std::size_t max_bytes = std::size_t{64} << 20;
    /// Parts with a lock each, at most; fewer where a part would get less than 1 MiB. An entry too large for a part
    /// (max_bytes / shards, less a few KiB) is not stored; to set it removes the key.
    std::size_t shards = 8;
    /// The clock, for tests.
    std::chrono::steady_clock::time_point (*now)() = &std::chrono::steady_clock::now;
  };

  MemoryCache() : MemoryCache(Options()) {}

  /// Throws InvalidArgument if an option is zero or null.
  explicit MemoryCache(Options options)
      : now_(options.now), shards_(shard_count(options)), limit_(shard_limit(options.max_bytes / shards_.size())) {}

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Shard {
    detail::ReadMostlyLock lock;
    detail::SieveTable table;
  };

  std::optional<std::string> do_get(std::string_view key) override {
    const auto hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::shared_lock<detail::ReadMostlyLock> hold(shard.lock);
    detail::Entry* const entry = find_live(shard, hash, key);
    if (entry == nullptr) return std::nullopt;
    entry->mark_visited();
    return std::optional<std::string>(entry->value());
  }

  std::optional<Entry> do_get_entry(std::string_view key) override {
    const auto hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::shared_lock<detail::ReadMostlyLock> hold(shard.lock);
    detail::Entry* const entry = find_live(shard, hash, key);
    if (entry == nullptr) return std::nullopt;
    entry->mark_visited();
    return Entry{std::string(entry->value()), time_left(entry->deadline)};
  }

  bool do_tells_time() const noexcept override { return true; }

  bool do_contains(std::string_view key) override {
    const auto hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::shared_lock<detail::ReadMostlyLock> hold(shard.lock);
    return find_live(shard, hash, key) != nullptr;
  }

  void do_set(std::string_view key, std::string_view value, Ttl ttl) override { store(key, value, ttl, true); }

  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override { return store(key, value, ttl, false); }

  bool do_touch(std::string_view key, Ttl ttl) override {
    const auto hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard<detail::ReadMostlyLock> hold(shard.lock);
    detail::Entry* const entry = find_live(shard, hash, key);
    if (entry == nullptr) return false;
    entry->deadline = deadline(now_(), ttl);
    return true;
  }

  bool do_erase(std::string_view key) override {
    const auto hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard<detail::ReadMostlyLock> hold(shard.lock);
    detail::Entry* const entry = shard.table.find(low_half(hash), key);
    if (entry == nullptr) return false;
    const bool was_live = !entry->has_expired(now_());
    shard.table.remove(entry);
    return was_live;
  }

  void do_clear() override {
    for (Shard& shard : shards_) {
      detail::SieveTable removed;  // freed without the lock
      const std::lock_guard<detail::ReadMostlyLock> hold(shard.lock);
      shard.table.swap(removed);
    }
  }

  bool store(std::string_view key, std::string_view value, Ttl ttl, bool replace) {
    const auto hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const TimePoint now = now_();
    const bool fits = detail::SieveTable::fits(detail::Entry::bytes(key.size(), value.size()), limit_);
    detail::Entry::Pointer fresh;
    if (fits) fresh = detail::Entry::make(low_half(hash), key, value, deadline(now, ttl));
    const std::lock_guard<detail::ReadMostlyLock> hold(shard.lock);
    shard.table.sweep(now);
    if (detail::Entry* const old = shard.table.find(low_half(hash), key)) {
      if (!replace && !old->has_expired(now)) return false;
      shard.table.remove(old);
    }
    if (fits) shard.table.insert(std::move(fresh), limit_);
    return fits;
  }

  detail::Entry* find_live(const Shard& shard, std::uint64_t hash, std::string_view key) const {
    detail::Entry* const entry = shard.table.find(low_half(hash), key);
    if (entry == nullptr || entry->deadline == (TimePoint::max)()) return entry;  // no look at the clock
    return entry->has_expired(now_()) ? nullptr : entry;
  }

  static TimePoint deadline(TimePoint now, Ttl ttl) {
    const auto longest = (TimePoint::max)() - (std::max)(now, TimePoint());
    return ttl && *ttl < std::chrono::duration_cast<std::chrono::milliseconds>(longest) ? now + *ttl
                                                                                        : (TimePoint::max)();
  }

  std::chrono::milliseconds time_left(TimePoint deadline) const {
    using std::chrono::milliseconds;
    if (deadline == (TimePoint::max)()) return (milliseconds::max)();
    return (std::max)(std::chrono::ceil<milliseconds>(deadline - now_()), milliseconds(1));  // it was live just now
  }

  // The upper half chooses the shard, the lower half the bucket.
  static std::uint64_t hash_of(std::string_view key) noexcept {
    return std::uint64_t{std::hash<std::string_view>()(key)} * 0x9E3779B97F4A7C15U;
  }
  static std::uint32_t low_half(std::uint64_t hash) noexcept { return static_cast<std::uint32_t>(hash); }
  Shard& shard_of(std::uint64_t hash) noexcept {
    return shards_[static_cast<std::size_t>(((hash >> 32) * shards_.size()) >> 32)];
  }

  static std::size_t shard_count(const Options& options) {
    constexpr std::size_t least_share = std::size_t{1} << 20;
    if (options.max_bytes == 0) throw InvalidArgument("MemoryCache::Options::max_bytes must not be 0");
    if (options.shards == 0) throw InvalidArgument("MemoryCache::Options::shards must not be 0");
    if (options.now == nullptr) throw InvalidArgument("MemoryCache::Options::now must not be null");
    return (std::max)(std::size_t{1}, (std::min)(options.shards, options.max_bytes / least_share));
  }
  static std::size_t shard_limit(std::size_t share) noexcept {
    return share > sizeof(Shard) ? share - sizeof(Shard) : 0;
  }

  TimePoint (*const now_)();
  std::vector<Shard> shards_;
  const std::size_t limit_;
};

}  // namespace LARDER_ABI
}  // namespace larder
