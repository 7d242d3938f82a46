// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// How long a round trip to the server takes when nothing delays it: the shortest recent one, which rises slowly, so
// that a busy machine does not look like a slow network.
class RoundTrip {
 public:
  using Duration = std::chrono::nanoseconds;

  void measured(Duration time) noexcept {
    if (time < shortest_) {
      shortest_ = time;
    } else {
      shortest_ += (time - shortest_) / 64;
    }
    if (shortest_ == Duration::zero()) shortest_ = Duration(1);
  }

  // Whether it is worthwhile to send while replies to an earlier batch are still on their way.
  bool is_slow() const noexcept { return shortest_ > slow; }
  // How far apart two batches on one connection are sent.
  Duration spacing() const noexcept { return shortest_ / 16; }
  // A connection that has been silent for so long is late.
  Duration late() const noexcept { return 2 * shortest_; }

 private:
  static constexpr Duration slow = std::chrono::microseconds(100);

  Duration shortest_{};  // at first as fast as can be
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
