// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>

#include "../error.hpp"
#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// Whether the Error that is being handled says that the cache is away, rather than that it refuses a call. It also
// works in programs without RTTI.
inline bool is_outage() {
  try {
    throw;
  } catch (const ServerError& refusal) {
    const std::string code = refusal.code();
    return code == "LOADING" || code == "BUSY" || code == "MASTERDOWN" || code == "CLUSTERDOWN" || code == "READONLY";
  } catch (const Error&) {
    return true;
  }
}

// Decides which calls go through to a cache that may be away. After some failures in a row it is open: calls are
// refused, but for one at a time, a probe, at growing distances. A success closes it.
class Circuit {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Pass : unsigned char { refused, normal, probe };

  Circuit(unsigned failures, Clock::duration longest_break) noexcept
      : failures_(failures), longest_break_(longest_break.count()) {}

  bool is_open() const noexcept { return open_.load(std::memory_order_relaxed); }

  // Whether enter() would refuse a call now.
  bool refuses() const noexcept { return is_open() && count_now() < probe_at_.load(); }

  Pass enter() noexcept {
    if (!is_open()) return Pass::normal;
    const auto now = count_now();
    auto probe_at = probe_at_.load();
    const auto while_it_runs = now + Clock::duration(std::chrono::minutes(1)).count();
    if (now < probe_at || !probe_at_.compare_exchange_strong(probe_at, while_it_runs)) return Pass::refused;
    return Pass::probe;
  }

  // True: this closed it.
  bool succeeded() noexcept {
    if (in_a_row_.load(std::memory_order_relaxed) != 0) in_a_row_.store(0, std::memory_order_relaxed);
    return is_open() && open_.exchange(false);
  }
  // True: this opened it.
  bool failed(Pass pass) noexcept {
    if (pass == Pass::probe) {
      const auto pause = (std::min)(2 * break_.load(), longest_break_);
      break_.store(pause);
      probe_at_.store(count_now() + pause);
      return false;
    }
    if (is_open() || in_a_row_.fetch_add(1) + 1 < failures_) return false;
    const auto pause = (std::min)(Clock::duration(std::chrono::milliseconds(50)).count(), longest_break_);
    break_.store(pause);
    probe_at_.store(count_now() + pause);
    return !open_.exchange(true);
  }
  // The call told nothing.
  void gave_up(Pass pass) noexcept {
    if (pass == Pass::probe) probe_at_.store(count_now());
  }

 private:
  static Clock::rep count_now() noexcept { return Clock::now().time_since_epoch().count(); }

  const unsigned failures_;
  const Clock::rep longest_break_;
  std::atomic<bool> open_{false};
  std::atomic<unsigned> in_a_row_{0};
  std::atomic<Clock::rep> break_{0}, probe_at_{0};
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
