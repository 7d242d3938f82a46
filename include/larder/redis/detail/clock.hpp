// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// The clock of every Deadline; the points in time that are none are TimePoints.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
