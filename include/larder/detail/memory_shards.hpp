// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <new>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../statistics.hpp"
#include "../version.hpp"
#include "process.hpp"
#include "read_mostly_lock.hpp"
#include "sieve_table.hpp"
#include "tally.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// The entries of a MemoryCache: tables with a lock each, which share one budget of bytes. Thread-safe.
//
// No lock is held for a time that grows with the cache, and none while memory is given back.
class MemoryShards {
 public:
  using TimePoint = Entry::TimePoint;
  using Reader = ReadMostlyLock::Reader;
  using Writer = std::lock_guard<ReadMostlyLock>;

  struct Shard {
    ReadMostlyLock lock;
    SieveTable table;
    Tally sets, erases, evictions, expirations;
  };

  // Where a key belongs.
  struct Place {
    Shard& shard;
    std::uint32_t hash;

    Entry* find(std::string_view key) const noexcept { return shard.table.find(hash, key); }
  };

  MemoryShards(std::size_t max_bytes, std::size_t shards)
      : shards_(shards), limit_(max_bytes > shards * sizeof(Shard) ? max_bytes - shards * sizeof(Shard) : 0) {
    watch_forks();
    process_.store(ready(), std::memory_order_relaxed);
  }

  // The upper half of the hash chooses the shard, the lower half the bucket.
  Place place_of(std::string_view key) {
    join_process();
    const std::uint64_t hash = std::uint64_t{std::hash<std::string_view>()(key)} * 0x9E3779B97F4A7C15U;
    return {shards_[static_cast<std::size_t>(((hash >> 32) * shards_.size()) >> 32)], static_cast<std::uint32_t>(hash)};
  }

  // False if the entry does not fit, or if the key is live and `replace` is false.
  bool store(std::string_view key, std::string_view value, TimePoint now, TimePoint deadline, bool replace) {
    const Place place = place_of(key);
    const std::size_t bytes = Entry::bytes(key.size(), value.size());
    const std::size_t needed = SieveTable::bytes_for_one(bytes);
    if (needed > limit_) return refuse(place, key, replace);
    if (bytes > large_entry) make_room(place, now, limit_ - needed + bytes_of(place, key));  // before it takes memory
    auto fresh = Entry::make(place.hash, key, value, deadline);
    auto outcome = insert(place, fresh, now, replace, false);
    if (outcome == Outcome::no_room) {
      make_room(place, now, limit_ - needed);
      outcome = insert(place, fresh, now, replace, true);
    }
    return outcome == Outcome::stored;
  }

  // True if the key was live.
  bool erase(std::string_view key, TimePoint now) {
    const Place place = place_of(key);
    RemovedEntries removed(used_);
    const Writer writer(place.shard.lock);
    Entry* const entry = place.find(key);
    if (entry == nullptr) return false;
    const bool was_live = !entry->has_expired(now);
    (was_live ? place.shard.erases : place.shard.expirations) += 1;
    place.shard.table.remove(entry, removed);
    return was_live;
  }

  void clear() {
    join_process();
    for (Shard& shard : shards_) {
      std::size_t bytes = 0;
      {
        SieveTable removed;
        const Writer writer(shard.lock);
        shard.table.swap(removed);
        bytes = removed.bytes();
      }
      used_.fetch_sub(bytes, std::memory_order_relaxed);
    }
  }

  CacheStats stats() const noexcept {
    CacheStats stats;
    for (const Shard& shard : shards_) {
      stats.hits += shard.lock.hits();
      stats.misses += shard.lock.misses();
      stats.sets += shard.sets;
      stats.erases += shard.erases;
      stats.entries += shard.table.size();
      stats.bytes += shard.table.bytes();
      stats.evictions += shard.evictions;
      stats.expirations += shard.expirations;
    }
    stats.refused = refused_.load(std::memory_order_relaxed);
    return stats;
  }

 private:
  static constexpr std::size_t large_entry = std::size_t{64} << 10;
  static constexpr std::size_t max_steps = 1000;  // of a hand, while its lock is held

  enum class Outcome : unsigned char { stored, present, no_room };

  // Inserts a fresh entry and evicts others of its shard for it, if it is their turn. Without `always` it does nothing
  // where that is not enough.
  Outcome insert(const Place& place, Entry::Pointer& fresh, TimePoint now, bool replace, bool always) {
    Shard& shard = place.shard;
    SieveTable& table = shard.table;
    RemovedEntries removed(used_);
    const Writer writer(shard.lock);
    shard.expirations += table.sweep(now, removed);
    Entry* old = place.find(fresh->key());
    if (old != nullptr && !replace && !old->has_expired(now)) return Outcome::present;
    const std::size_t freed = old != nullptr ? old->bytes() : 0;
    if (const std::size_t most = limit_ + freed - fresh->bytes() - table.growth(); is_over(most, removed)) {
      if (&victim(place, place.hash) == &shard) evict_some(shard, now, most, removed);
      if (is_over(most, removed) && !always) return Outcome::no_room;
      old = place.find(fresh->key());  // it may have been evicted
    }
    if (old != nullptr) {
      if (old->has_expired(now)) shard.expirations += 1;
      table.remove(old, removed);
    }
    const std::size_t added = fresh->bytes() + table.growth();
    table.insert(std::move(fresh));
    used_.fetch_add(added, std::memory_order_relaxed);
    shard.sets += 1;
    return Outcome::stored;
  }

  // Evicts until no more than `most` bytes are used, or nothing is left; holds one lock at a time, and not for long.
  void make_room(const Place& place, TimePoint now, std::size_t most) {
    std::size_t turn = place.hash, idle = 0;
    while (used_.load(std::memory_order_relaxed) > most && idle < shards_.size()) {
      Shard& shard = victim(place, turn++);
      RemovedEntries removed(used_);
      const Writer writer(shard.lock);
      idle = evict_some(shard, now, most, removed) ? 0 : idle + 1;
    }
  }

  // Of a shard and another one, whose turn it is, that which has more entries: so all entries have the same chance to
  // stay, and a shard with large ones does not lose its small ones.
  Shard& victim(const Place& place, std::size_t turn) noexcept {
    Shard& other = shards_[turn % shards_.size()];
    const auto own = place.shard.table.size();
    return other.table.size() > own + own / 16 ? other : place.shard;
  }

  bool is_over(std::size_t most, const RemovedEntries& removed) const noexcept {
    return used_.load(std::memory_order_relaxed) > most + removed.bytes();
  }

  // Evicts until no more than `most` bytes are used, but looks at a bounded number of entries. False: there was
  // nothing.
  bool evict_some(Shard& shard, TimePoint now, std::size_t most, RemovedEntries& removed) {
    using Step = SieveTable::Step;
    if (shard.table.bytes() == 0) return false;
    for (std::size_t steps = 0; shard.table.size() != 0 && steps < max_steps && is_over(most, removed); ++steps) {
      const Step step = shard.table.move_hand(now, removed);
      if (step == Step::evicted) shard.evictions += 1;
      if (step == Step::expired) shard.expirations += 1;
    }
    if (shard.table.size() == 0 && is_over(most, removed)) {
      used_.fetch_sub(shard.table.free_buckets(), std::memory_order_relaxed);
    }
    return true;
  }

  // An entry that does not fit is not kept, and neither is the value that it should have replaced.
  bool refuse(const Place& place, std::string_view key, bool replace) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    if (!replace) return false;
    RemovedEntries removed(used_);
    const Writer writer(place.shard.lock);
    Entry* const old = place.find(key);
    if (old != nullptr) place.shard.table.remove(old, removed);
    return false;
  }

  // The bytes of the entry of a key, or 0.
  std::size_t bytes_of(const Place& place, std::string_view key) {
    const Reader reader(place.shard.lock);
    const Entry* const entry = place.find(key);
    return entry != nullptr ? entry->bytes() : 0;
  }

  // Before anything else: a forked child has none of the threads that may have held a lock when it was made. What one
  // of them was writing is lost, with its memory.
  void join_process() {
    if (process_.load(std::memory_order_acquire) != ready()) recover();
  }
  static std::uint64_t ready() noexcept { return 2 * std::uint64_t{process_generation()}; }

  void recover() {
    const std::uint64_t recovered = ready(), recovering = recovered + 1;
    for (auto state = process_.load(); state != recovered;) {
      if (state == recovering) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        state = process_.load(std::memory_order_acquire);
      } else if (process_.compare_exchange_weak(state, recovering)) {
        std::size_t used = 0;
        for (Shard& shard : shards_) {
          if (shard.lock.reset_after_fork()) new (&shard.table) SieveTable;
          used += shard.table.bytes();
        }
        used_.store(used);
        process_.store(recovered, std::memory_order_release);
        return;
      }
    }
  }

  std::vector<Shard> shards_;
  const std::size_t limit_;
  std::atomic<std::uint64_t> process_{0};  // twice its generation, and one more while that is being changed
  std::atomic<std::uint64_t> refused_{0};
  alignas(64) std::atomic<std::size_t> used_{0};  // of the limit; in a cache line that readers do not need
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
