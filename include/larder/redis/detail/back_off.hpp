// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>

#include "../../version.hpp"
#include "clock.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// When to try to connect again after attempts that failed: twice as long after each, less up to half of it, so that
// clients do not come back all at once.
class BackOff {
 public:
  bool may_try(TimePoint now) const noexcept { return now >= next_; }
  TimePoint next() const noexcept { return next_; }

  void failed(TimePoint now) noexcept {
    if (now < next_) return;  // attempts that began together are one
    delay_ = (std::clamp)(2 * delay_, first_delay, longest_delay);
    next_ = now + delay_ - std::chrono::nanoseconds(now.time_since_epoch().count() % (delay_.count() / 2));
  }
  void succeeded() noexcept { delay_ = {}; }

 private:
  static constexpr std::chrono::nanoseconds first_delay = std::chrono::milliseconds(50);
  static constexpr std::chrono::nanoseconds longest_delay = std::chrono::milliseconds(1000);

  std::chrono::nanoseconds delay_{};
  TimePoint next_{};
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
