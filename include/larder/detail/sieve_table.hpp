// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../version.hpp"
#include "tally.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// What the allocator takes for a block of this size, by glibc's rules; others come close.
constexpr std::size_t allocated_size(std::size_t size) noexcept {
  constexpr std::size_t page = 4096, mapped = 128 * 1024;
  const std::size_t unit = size < mapped ? 16 : page;
  const std::size_t header = size < mapped ? sizeof(void*) : 2 * sizeof(void*);
  return (size + header + unit - 1) / unit * unit;
}

// A key, its value and their place in the table, in one block.
struct Entry {
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Delete {
    void operator()(Entry* entry) const noexcept { ::operator delete(entry); }
  };
  using Pointer = std::unique_ptr<Entry, Delete>;

  Entry* next_in_bucket = nullptr;
  Entry* older = nullptr;  // of what was removed: the entry that was removed before it
  Entry* newer = nullptr;
  TimePoint deadline;  // the greatest: never
  std::uint32_t hash = 0;
  std::uint32_t key_size = 0;
  std::uint32_t value_size = 0;
  std::atomic<bool> visited{false};  // set by readers, who hold the lock shared

  static Pointer make(std::uint32_t hash, std::string_view key, std::string_view value, TimePoint deadline) {
    void* block = ::operator new(sizeof(Entry) + key.size() + value.size());
    Pointer entry(new (block) Entry);
    entry->deadline = deadline;
    entry->hash = hash;
    entry->key_size = static_cast<std::uint32_t>(key.size());
    entry->value_size = static_cast<std::uint32_t>(value.size());
    key.copy(entry->text(), key.size());
    value.copy(entry->text() + key.size(), value.size());
    return entry;
  }
  static std::size_t bytes(std::size_t key_size, std::size_t value_size) noexcept {
    return allocated_size(sizeof(Entry) + key_size + value_size);
  }

  std::size_t bytes() const noexcept { return bytes(key_size, value_size); }
  std::string_view key() noexcept { return {text(), key_size}; }
  std::string_view value() noexcept { return {text() + key_size, value_size}; }
  void mark_visited() noexcept {
    if (!visited.load(std::memory_order_relaxed)) visited.store(true, std::memory_order_relaxed);
  }
  bool has_expired(TimePoint now) const noexcept { return deadline <= now && deadline != (TimePoint::max)(); }

 private:
  // The block that the entry was made in goes on after it.
  char* text() noexcept { return std::launder(reinterpret_cast<char*>(this)) + sizeof(Entry); }
};
static_assert(std::is_trivially_destructible_v<Entry>);  // Delete calls no destructor
static_assert(alignof(Entry) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

// What was removed from tables while their locks were held: freed when they are not, and then given back to the budget.
class RemovedEntries {
 public:
  explicit RemovedEntries(std::atomic<std::size_t>& budget_used) noexcept : budget_used_(budget_used) {}
  RemovedEntries(const RemovedEntries&) = delete;
  RemovedEntries& operator=(const RemovedEntries&) = delete;
  ~RemovedEntries() {
    while (last_ != nullptr) Entry::Delete()(std::exchange(last_, last_->older));
    if (bytes_ != 0) budget_used_.fetch_sub(bytes_, std::memory_order_relaxed);
  }

  void take(Entry* entry) noexcept {
    bytes_ += entry->bytes();
    entry->older = std::exchange(last_, entry);
  }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::atomic<std::size_t>& budget_used_;
  Entry* last_ = nullptr;
  std::size_t bytes_ = 0;
};

// A hash table of entries that evicts by SIEVE. Not thread-safe, but for size() and bytes(). It grows by linear
// hashing, a bucket at a time, so that no insertion pays for moving the whole table and no memory is needed for two.
class SieveTable {
 public:
  // The most entries in a row that the hand spares: what an eviction costs does not grow with the table.
  static constexpr std::size_t max_spared = 6000;

  SieveTable() = default;
  SieveTable(const SieveTable&) = delete;
  SieveTable& operator=(const SieveTable&) = delete;
  ~SieveTable() {
    while (oldest_ != nullptr) Entry::Pointer(std::exchange(oldest_, oldest_->newer));
  }

  std::size_t size() const noexcept { return size_; }
  // Of the entries and what finds them.
  std::size_t bytes() const noexcept { return bytes_; }
  // What bytes() will grow by with the next entry, besides the entry.
  std::size_t growth() const noexcept { return size_ == blocks_.size() * block_size ? block_bytes : 0; }
  // The least that is needed to keep one entry of this size.
  static constexpr std::size_t bytes_for_one(std::size_t entry_bytes) noexcept { return entry_bytes + block_bytes; }

  Entry* find(std::uint32_t hash, std::string_view key) const noexcept {
    if (size_ == 0) return nullptr;
    Entry* entry = bucket(index_of(hash));
    while (entry != nullptr && (entry->hash != hash || entry->key() != key)) entry = entry->next_in_bucket;
    return entry;
  }

  // Inserts an entry whose key is absent. Throws std::bad_alloc.
  void insert(Entry::Pointer fresh) {
    if (size_ == buckets_) add_bucket();
    Entry* entry = fresh.release();
    Entry*& first = bucket(index_of(entry->hash));
    entry->next_in_bucket = std::exchange(first, entry);
    entry->older = std::exchange(newest_, entry);
    (entry->older != nullptr ? entry->older->newer : oldest_) = entry;
    bytes_ += entry->bytes();
    size_ += 1;
  }

  void remove(Entry* entry, RemovedEntries& removed) noexcept {
    Entry** link = &bucket(index_of(entry->hash));
    while (*link != entry) link = &(*link)->next_in_bucket;
    *link = entry->next_in_bucket;
    (entry->older != nullptr ? entry->older->newer : oldest_) = entry->newer;
    (entry->newer != nullptr ? entry->newer->older : newest_) = entry->older;
    if (hand_ == entry) hand_ = entry->newer;
    bytes_ -= entry->bytes();
    size_ -= 1;
    removed.take(entry);
  }

  // Removes what has expired in the next few buckets; how many entries that were. Called before each insertion it
  // outpaces them.
  std::size_t sweep(Entry::TimePoint now, RemovedEntries& removed) noexcept {
    std::size_t expired = 0;
    for (int i = 0; i < 2 && size_ != 0; ++i) {
      swept_ = swept_ + 1 < buckets_ ? swept_ + 1 : 0;
      for (Entry* entry = bucket(swept_); entry != nullptr;) {
        Entry* const next = entry->next_in_bucket;
        if (entry->has_expired(now)) {
          remove(entry, removed);
          ++expired;
        }
        entry = next;
      }
    }
    return expired;
  }

  enum class Step : unsigned char { spared, evicted, expired };

  // Moves the hand by one entry of a table that has one. It goes from old to new and round again, spares what was
  // visited since it last came by, and removes what was not, or has expired.
  Step move_hand(Entry::TimePoint now, RemovedEntries& removed) noexcept {
    Entry* const entry = hand_ != nullptr ? hand_ : oldest_;
    const bool has_expired = entry->has_expired(now);
    if (!has_expired && spared_ < max_spared && entry->visited.load(std::memory_order_relaxed)) {
      entry->visited.store(false, std::memory_order_relaxed);
      hand_ = entry->newer;
      ++spared_;
      return Step::spared;
    }
    hand_ = entry;
    spared_ = 0;
    remove(entry, removed);
    return has_expired ? Step::expired : Step::evicted;
  }

  // Frees the buckets of a table that is empty; the bytes that this gives.
  std::size_t free_buckets() noexcept {
    SieveTable empty;
    empty.swap(*this);
    return empty.bytes_;
  }

  void swap(SieveTable& other) noexcept {
    std::swap(blocks_, other.blocks_);
    std::swap(buckets_, other.buckets_);
    std::swap(mask_, other.mask_);
    std::swap(swept_, other.swept_);
    std::swap(size_, other.size_);
    std::swap(bytes_, other.bytes_);
    std::swap(oldest_, other.oldest_);
    std::swap(newest_, other.newest_);
    std::swap(hand_, other.hand_);
    std::swap(spared_, other.spared_);
  }

 private:
  static constexpr std::size_t block_size = 64;
  using Block = std::array<Entry*, block_size>;
  // With three pointers to it: what a vector may need while it grows.
  static constexpr std::size_t block_bytes = allocated_size(sizeof(Block)) + 3 * sizeof(void*);

  std::size_t index_of(std::uint32_t hash) const noexcept {
    const std::size_t index = hash & mask_;
    return index < buckets_ ? index : index & (mask_ >> 1);
  }
  Entry*& bucket(std::size_t index) const noexcept { return (*blocks_[index / block_size])[index % block_size]; }

  void add_bucket() {
    if (buckets_ == blocks_.size() * block_size) {
      blocks_.push_back(std::make_unique<Block>());
      bytes_ += block_bytes;
    }
    if (buckets_ > mask_) mask_ = 2 * mask_ + 1;
    const std::size_t added = buckets_++;
    Entry** link = &bucket(added & (mask_ >> 1));
    while (*link != nullptr) {
      Entry* const entry = *link;
      if ((entry->hash & mask_) == added) {
        *link = entry->next_in_bucket;
        entry->next_in_bucket = std::exchange(bucket(added), entry);
      } else {
        link = &entry->next_in_bucket;
      }
    }
  }

  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t buckets_ = 0;
  std::size_t mask_ = 0;  // the least 2^n - 1 that reaches every bucket
  std::size_t swept_ = 0;
  Tally size_;
  Tally bytes_;
  Entry* oldest_ = nullptr;
  Entry* newest_ = nullptr;
  Entry* hand_ = nullptr;
  std::size_t spared_ = 0;  // since the hand removed one
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
