// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "../expiry.hpp"
#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// What this process knows of the keys that it loaded last: when the value expires, how long the load took, and until
// when not to try again. A key is its hash, in the one slot that it has; two keys that meet there forget each other,
// and the fields of a slot are not changed together: what is wrong here costs a load too many or one too late.
class RecentLoads {
 public:
  using Clock = std::chrono::steady_clock;

  void note_load(std::size_t hash, Clock::time_point expires, Clock::duration took) {
    Slot& slot = slot_of(hash);
    slot.hash.store(hash, relaxed);
    slot.retry_at.store(0, relaxed);
    slot.expires.store(count(expires), relaxed);
    slot.took.store(took.count(), relaxed);
  }
  void note_failure(std::size_t hash, Clock::time_point retry_at) {
    Slot& slot = slot_of(hash);
    if (slot.hash.exchange(hash, relaxed) != hash) slot.expires.store(0, relaxed);
    slot.retry_at.store(count(retry_at), relaxed);
  }
  void forget_failure(std::size_t hash) {
    Slot& slot = slot_of(hash);
    if (slot.hash.load(relaxed) == hash) slot.retry_at.store(0, relaxed);
  }
  void correct_expiry(std::size_t hash, Clock::time_point expires) {
    Slot& slot = slot_of(hash);
    if (slot.hash.load(relaxed) == hash) slot.expires.store(count(expires), relaxed);
  }

  // Whether it is too early to try a load again that has failed.
  bool must_not_retry(std::size_t hash) const {
    const Slot& slot = slot_of(hash);
    if (slot.hash.load(relaxed) != hash) return false;
    const auto retry_at = slot.retry_at.load(relaxed);
    return retry_at != 0 && count(Clock::now()) < retry_at;
  }

  // XFetch (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015): how long
  // before its expiry a value is to be loaded again, as the dice fall this time, if that is now. The nearer the expiry
  // and the longer a load takes, the likelier.
  std::optional<std::chrono::nanoseconds> due(std::size_t hash, double beta) const {
    const Slot& slot = slot_of(hash);
    if (slot.hash.load(relaxed) != hash) return std::nullopt;
    const auto expires = slot.expires.load(relaxed);
    if (expires == 0) return std::nullopt;
    const auto took = std::chrono::duration<double, Clock::period>(static_cast<double>(slot.took.load(relaxed)));
    const auto lead = ceil_saturated<std::chrono::nanoseconds>(took * beta * -std::log(random()));
    if (Clock::duration(expires - count(Clock::now())) > lead || must_not_retry(hash)) return std::nullopt;
    return lead;
  }

  // In (0, 1].
  static double random() noexcept {
    static thread_local std::uint64_t state = 0;
    if (state == 0) {  // threads differ by the address, processes by the time
      state = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&state)) ^
              static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
    }
    state += 0x9E3779B97F4A7C15U;  // SplitMix64
    std::uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBU;
    mixed ^= mixed >> 31;
    return (static_cast<double>(mixed >> 11) + 1) / 9007199254740992.0;
  }

 private:
  static constexpr auto relaxed = std::memory_order_relaxed;

  struct Slot {
    std::atomic<std::size_t> hash{0};
    std::atomic<Clock::rep> expires{0};  // 0: not known
    std::atomic<Clock::rep> took{0};
    std::atomic<Clock::rep> retry_at{0};  // 0: at any time
  };

  static Clock::rep count(Clock::time_point time) noexcept { return time.time_since_epoch().count(); }
  Slot& slot_of(std::size_t hash) noexcept { return slots_[(hash ^ (hash >> 20)) % slots_.size()]; }
  const Slot& slot_of(std::size_t hash) const noexcept { return slots_[(hash ^ (hash >> 20)) % slots_.size()]; }

  std::array<Slot, 1024> slots_;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
