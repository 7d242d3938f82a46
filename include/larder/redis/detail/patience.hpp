// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

/// Decides whether to try for a moment before sleeping: always while that pays now and then, ever more seldom while it
/// does not. Thread-safe; a race costs no more than a try.
class Patience {
 public:
  bool is_worth_a_try() noexcept {
    const unsigned skip = skip_.load(std::memory_order_relaxed);
    if (skip != 0) skip_.store(skip - 1, std::memory_order_relaxed);
    return skip == 0;
  }
  void paid(bool it_did) noexcept {
    const unsigned misses = it_did ? 0 : (std::min)(misses_.load(std::memory_order_relaxed) + 1, most_misses);
    misses_.store(misses, std::memory_order_relaxed);
    if (misses > free_misses) skip_.store(1U << (misses - free_misses), std::memory_order_relaxed);
  }

 private:
  static constexpr unsigned free_misses = 8;
  static constexpr unsigned most_misses = free_misses + 10;

  std::atomic<unsigned> skip_{0};    // how many times not to try
  std::atomic<unsigned> misses_{0};  // tries since one paid
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
