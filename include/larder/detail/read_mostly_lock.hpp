// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>

#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// A lock for many readers and few writers. A reader counts itself in one of several counters, each in a cache line of
// its own and chosen by the thread, so that readers on different cores do not share a line; the one counter of a
// std::shared_mutex costs them most of the second core. A writer looks at all counters.
//
// Readers and writers exclude each other as in Dekker's algorithm: a reader counts itself, then looks at writing_; a
// writer sets writing_, then looks at the counters. All four steps are sequentially consistent, so they have one order,
// and whichever comes second sees the first: no reader and writer can both go ahead. A reader that sees a writer takes
// itself back and queues on the writers' mutex. unlock() needs release only: a reader that still sees `true` queues,
// and one that sees `false` also sees what the writer wrote.
class ReadMostlyLock {
 public:
  void lock_shared() {
    auto& readers = my_readers();
    readers.fetch_add(1);
    if (!writing_.load()) return;
    readers.fetch_sub(1);
    const std::lock_guard<std::mutex> no_writer(writers_);
    readers.fetch_add(1);
  }
  void unlock_shared() { my_readers().fetch_sub(1, std::memory_order_release); }

  void lock() {
    writers_.lock();
    writing_.store(true);
    for (auto& counter : counters_) {
      while (counter.readers.load() != 0) std::this_thread::yield();
    }
  }
  void unlock() {
    writing_.store(false, std::memory_order_release);
    writers_.unlock();
  }

 private:
  struct alignas(64) Counter {
    std::atomic<std::uint32_t> readers{0};
  };

  // The address of a thread's anchor tells threads apart; the factor spreads the usual distances.
  std::atomic<std::uint32_t>& my_readers() noexcept {
    static thread_local const char anchor = 0;
    const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&anchor));
    return counters_[(address * 0x94D049BB133111EBU) >> 60].readers;
  }

  std::mutex writers_;
  std::atomic<bool> writing_{false};
  std::array<Counter, 16> counters_;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
