// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// A number that one thread at a time changes, under a lock, and that any thread reads without it.
class Tally {
 public:
  Tally() = default;
  Tally(const Tally& other) noexcept : value_(static_cast<std::uint64_t>(other)) {}
  Tally& operator=(const Tally& other) noexcept {
    value_.store(other, std::memory_order_relaxed);
    return *this;
  }
  ~Tally() = default;

  void operator+=(std::uint64_t more) noexcept { value_.store(*this + more, std::memory_order_relaxed); }
  void operator-=(std::uint64_t less) noexcept { value_.store(*this - less, std::memory_order_relaxed); }
  operator std::uint64_t() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
