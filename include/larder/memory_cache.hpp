// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base_cache.hpp"
#include "detail/memory_shards.hpp"
#include "detail/sieve_table.hpp"
#include "error.hpp"
#include "statistics.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// A cache in the memory of this process, bounded by bytes. When it is full it evicts by SIEVE (Zhang et al., "SIEVE is
/// Simpler than LRU", NSDI 2024), which hits more often than LRU and lets hits go on side by side: a hit sets a flag
/// under a shared lock. Expired entries are never returned, and later writes free them; there is no thread of its own.
/// Time is that of a monotonic clock.
///
/// Besides std::bad_alloc, which leaves it usable, only the constructor throws. Keys that an adversary chooses can be
/// made to collide (they are hashed with std::hash), which slows calls down. After fork() the child has what its parent
/// had, but for what was being written at that moment.
class MemoryCache : public BaseCache {
 public:
  /// How much memory to use, and how.
  struct Options {
    /// The most memory to use, in bytes: keys, values, and all that it takes to keep them. An entry of up to half of it
    /// is kept; one that does not fit is not, and to set it removes the key. What malloc holds back for later is not
    /// counted (with glibc and many writing threads, up to half as much again), nor is a value while it is replaced.
    std::size_t max_bytes = std::size_t{128} << 20;
    /// Parts with a lock each, at most; fewer where a part would get less than 1 MiB.
    std::size_t shards = 8;
    /// The clock, for tests.
    std::chrono::steady_clock::time_point (*now)() = &std::chrono::steady_clock::now;
  };

  MemoryCache() : MemoryCache(Options()) {}

  /// Throws InvalidArgument if an option is zero or null.
  explicit MemoryCache(Options options) : now_(options.now), shards_(options.max_bytes, shard_count(options)) {}

  /// What was counted. `errors` is always 0.
  [[nodiscard]] CacheStats stats() const { return shards_.stats(); }

 private:
  using Place = detail::MemoryShards::Place;
  using Reader = detail::MemoryShards::Reader;
  using Writer = detail::MemoryShards::Writer;
  using TimePoint = detail::MemoryShards::TimePoint;

  std::optional<std::string> do_get(std::string_view key) override {
    const Place place = shards_.place_of(key);
    Reader reader(place.shard.lock);
    detail::Entry* const entry = find_to_read(place, key, reader);
    if (entry == nullptr) return std::nullopt;
    return std::optional<std::string>(entry->value());
  }

  std::optional<Entry> do_get_entry(std::string_view key) override {
    const Place place = shards_.place_of(key);
    Reader reader(place.shard.lock);
    detail::Entry* const entry = find_to_read(place, key, reader);
    if (entry == nullptr) return std::nullopt;
    return Entry{std::string(entry->value()), time_left(entry->deadline)};
  }

  bool do_tells_time() const noexcept override { return true; }

  bool do_contains(std::string_view key) override {
    const Place place = shards_.place_of(key);
    const Reader reader(place.shard.lock);
    return find_live(place, key) != nullptr;
  }

  void do_set(std::string_view key, std::string_view value, Ttl ttl) override { store(key, value, ttl, true); }

  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override { return store(key, value, ttl, false); }

  bool do_touch(std::string_view key, Ttl ttl) override {
    const Place place = shards_.place_of(key);
    const Writer writer(place.shard.lock);
    detail::Entry* const entry = find_live(place, key);
    if (entry == nullptr) return false;
    entry->deadline = deadline(now_(), ttl);
    return true;
  }

  bool do_erase(std::string_view key) override { return shards_.erase(key, now_()); }

  void do_clear() override { shards_.clear(); }

  bool store(std::string_view key, std::string_view value, Ttl ttl, bool replace) {
    const TimePoint now = now_();
    return shards_.store(key, value, now, deadline(now, ttl), replace);
  }

  detail::Entry* find_live(const Place& place, std::string_view key) const {
    detail::Entry* const entry = place.find(key);
    if (entry == nullptr || entry->deadline == (TimePoint::max)()) return entry;  // no look at the clock
    return entry->has_expired(now_()) ? nullptr : entry;
  }

  detail::Entry* find_to_read(const Place& place, std::string_view key, Reader& reader) const {
    detail::Entry* const entry = find_live(place, key);
    if (entry == nullptr) {
      reader.count_miss();
    } else {
      entry->mark_visited();
      reader.count_hit();
    }
    return entry;
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

  static std::size_t shard_count(const Options& options) {
    constexpr std::size_t least_share = std::size_t{1} << 20;
    if (options.max_bytes == 0) throw InvalidArgument("MemoryCache::Options::max_bytes must not be 0");
    if (options.shards == 0) throw InvalidArgument("MemoryCache::Options::shards must not be 0");
    if (options.now == nullptr) throw InvalidArgument("MemoryCache::Options::now must not be null");
    return (std::max)(std::size_t{1}, (std::min)(options.shards, options.max_bytes / least_share));
  }

  TimePoint (*const now_)();
  detail::MemoryShards shards_;
};

}  // namespace LARDER_ABI
}  // namespace larder
