// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <new>
#include <thread>

#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// A lock for many readers and few writers, which also counts the hits and misses of its readers. A reader counts itself
// in one of several counters, each in a cache line of its own and chosen by the thread, so that readers on different
// cores do not share a line; the one counter of a std::shared_mutex costs them most of the second core. A writer looks
// at all counters.
//
// Readers and writers exclude each other as in Dekker's algorithm: a reader counts itself, then looks at writing_; a
// writer sets writing_, then looks at the counters. All four steps are sequentially consistent, so they have one order,
// and whichever comes second sees the first: no reader and writer can both go ahead. A reader that sees a writer takes
// itself back and queues on the writers' mutex. unlock() needs release only: a reader that still sees `true` queues,
// and one that sees `false` also sees what the writer wrote.
//
// A writer sleeps while it waits for readers, and so leaves the processor to them also where it has a higher priority.
class ReadMostlyLock {
  struct alignas(64) Counter {
    std::atomic<std::uint64_t> readers_and_hits{0};  // one word, so that a hit is counted by the step that ends it
    std::atomic<std::uint64_t> misses{0};
  };
  static constexpr std::uint64_t one_hit = std::uint64_t{1} << 16;
  static constexpr std::uint64_t readers_mask = one_hit - 1;

 public:
  // Holds the lock as a reader. It may end on another thread than it began on.
  class Reader {
   public:
    explicit Reader(ReadMostlyLock& lock) : counter_(lock.my_counter()) {
      counter_.readers_and_hits.fetch_add(1);
      if (lock.writing_.load()) lock.wait_for_writer(counter_);
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() { counter_.readers_and_hits.fetch_add(last_step_, std::memory_order_release); }

    void count_hit() noexcept { last_step_ += one_hit; }
    void count_miss() noexcept { counter_.misses.fetch_add(1, std::memory_order_relaxed); }

   private:
    Counter& counter_;
    std::uint64_t last_step_ = ~std::uint64_t{0};  // one reader less, by overflow
  };

  void lock() {
    writers_.lock();
    writing_.store(true);
    for (const Counter& counter : counters_) {
      for (int looks = 0; (counter.readers_and_hits.load() & readers_mask) != 0;) {
        if (++looks > 200) std::this_thread::sleep_for(std::chrono::microseconds(50));  // a reader is not running
      }
    }
  }
  void unlock() {
    writing_.store(false, std::memory_order_release);
    writers_.unlock();
  }

  std::uint64_t hits() const noexcept {
    return sum(
        [](const Counter& counter) { return counter.readers_and_hits.load(std::memory_order_relaxed) / one_hit; });
  }
  std::uint64_t misses() const noexcept {
    return sum([](const Counter& counter) { return counter.misses.load(std::memory_order_relaxed); });
  }

  // In a forked child, before any other use: forgets the threads of the parent. True if one of them was writing.
  bool reset_after_fork() noexcept {
    new (&writers_) std::mutex;  // nobody can unlock the old one
    for (Counter& counter : counters_) counter.readers_and_hits.fetch_and(~readers_mask);
    return writing_.exchange(false);
  }

 private:
  void wait_for_writer(Counter& counter) {
    counter.readers_and_hits.fetch_sub(1);
    const std::lock_guard<std::mutex> no_writer(writers_);
    counter.readers_and_hits.fetch_add(1);
  }

  // The address of a thread's anchor tells threads apart; the factor spreads the usual distances.
  Counter& my_counter() noexcept {
    static thread_local const char anchor = 0;
    const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&anchor));
    return counters_[(address * 0x94D049BB133111EBU) >> 60];
  }

  template <class Get>
  std::uint64_t sum(Get get) const noexcept {
    std::uint64_t total = 0;
    for (const Counter& counter : counters_) total += get(counter);
    return total;
  }

  std::mutex writers_;
  std::atomic<bool> writing_{false};
  std::array<Counter, 16> counters_;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
