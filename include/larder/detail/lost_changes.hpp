// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// The keys whose changes did not reach the cache: what it has under them may be old. Once there are too many, that
// holds for all keys.
class LostChanges {
 public:
  using Clock = std::chrono::steady_clock;
  struct Lost {
    std::string key;
    std::uint64_t number;  // of the last change of it that was lost
  };

  bool any() const noexcept { return any_.load(); }

  // The number of the last change that was lost.
  std::uint64_t last() const noexcept { return last_.load(); }

  void add(std::string_view key, std::size_t most) noexcept {
    const std::lock_guard<std::mutex> hold(mutex_);
    const auto number = last_.fetch_add(1) + 1;
    lost_at_ = Clock::now();
    any_ = true;
    if (too_many_) return;
    try {
      keys_[std::string(key)] = number;
      too_many_ = keys_.size() > most;
    } catch (const std::bad_alloc&) {
      too_many_ = true;
    }
    if (too_many_) keys_.clear();
  }

  // Whether what the cache has under a key may be old.
  bool hide(std::string_view key, std::chrono::seconds forget_after) {
    if (!any()) return false;
    const std::lock_guard<std::mutex> hold(mutex_);
    if (too_many_ && Clock::now() - lost_at_ >= forget_after) {
      too_many_ = false;
      any_ = false;
    }
    return too_many_ || keys_.count(std::string(key)) != 0;
  }

  // What is to be erased, if nobody is at it and, unless it is a probe, a failed attempt is not too near.
  std::vector<Lost> begin_repair(bool is_probe) {
    std::vector<Lost> all;
    const std::lock_guard<std::mutex> hold(mutex_);
    if (repairing_ || (!is_probe && Clock::now() < repair_at_)) return all;
    for (const auto& [key, number] : keys_) all.push_back({key, number});
    repairing_ = !all.empty();
    return all;
  }
  void end_repair(const std::vector<Lost>& erased, Clock::duration pause) {
    const std::lock_guard<std::mutex> hold(mutex_);
    repairing_ = false;
    repair_at_ = Clock::now() + pause;
    for (const Lost& lost : erased) forget(lost.key, lost.number);
  }

  // A later change of the key, begun when last() was `number`, has reached the cache.
  void replaced(std::string_view key, std::uint64_t number) {
    if (!any()) return;
    const std::lock_guard<std::mutex> hold(mutex_);
    forget(std::string(key), number);
  }
  // So has a clear().
  void cleared(std::uint64_t number) {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (too_many_ && last_ != number) return;
    too_many_ = false;
    for (auto it = keys_.begin(); it != keys_.end();) it = it->second <= number ? keys_.erase(it) : std::next(it);
    any_ = !keys_.empty();
  }

 private:
  void forget(const std::string& key, std::uint64_t number) {
    const auto found = keys_.find(key);
    if (found != keys_.end() && found->second <= number) keys_.erase(found);
    any_ = too_many_ || !keys_.empty();
  }

  std::atomic<bool> any_{false};
  std::atomic<std::uint64_t> last_{0};
  std::mutex mutex_;  // of all that follows
  std::unordered_map<std::string, std::uint64_t> keys_;
  bool too_many_ = false;
  bool repairing_ = false;
  Clock::time_point lost_at_{}, repair_at_{};
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
