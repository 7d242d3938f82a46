// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../version.hpp"
#include "per_process.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

using LoadClock = std::chrono::steady_clock;

class Flight;
class FlightTable;
struct LoadFrame;

// What a thread does with loads. Its address stands for the thread.
struct LoadThread {
  const LoadFrame* innermost = nullptr;  // the loaders that it runs now; only for itself
  const Flight* waits_for = nullptr;     // guarded by the mutex of WaitGraph
  std::size_t stores = 0;                // how many loads it is storing; only for itself

  static LoadThread& current() noexcept {
    static thread_local LoadThread thread;
    return thread;
  }
};

// What came of a load, for those who waited.
struct LoadResult {
  enum class Kind : unsigned char {
    value,    // `bytes`, or `object` where it could not be encoded
    stale,    // the loader failed: `bytes` are the value it should have replaced
    nothing,  // the loader of a batch left the key out
    failed,   // the loader threw `error`
  };

  Kind kind = Kind::nothing;
  std::string bytes = {};
  std::exception_ptr error = {};
  std::shared_ptr<const void> object = {};
  const void* type = nullptr;  // of `object`
};

// How a loaded value is to be stored.
enum class Store : unsigned char { nothing, add, set };

// How long a caller waits for others' loads: from `begin`, which is when it first had to.
struct WaitLimit {
  LoadClock::time_point begin;
  LoadClock::duration max_wait;
};

// One load of one key, and those who wait for it. FlightTable, which lists it, begins and ends it.
class Flight {
 public:
  enum class Turn : unsigned char {
    none,        // go on waiting
    has_result,  // of the flight
    loads,       // this thread is one of its loaders now
  };

  Flight(std::string_view its_key, std::size_t its_hash, const void* its_layer)
      : key(its_key), hash(its_hash), layer(its_layer) {}

  const std::string key;
  const std::size_t hash;
  const void* const layer;  // the cache or decorator whose values these are

  // Of a flight that has one.
  const LoadResult& result() const noexcept { return result_; }
  // Whether a change has met the flight.
  bool was_voided() {
    const std::lock_guard<std::mutex> hold(mutex_);
    return voided_;
  }
  // As FlightTable::wait(), without waiting.
  Turn poll(WaitLimit limit) {
    const std::lock_guard<std::mutex> hold(mutex_);
    return take_turn(due(limit), LoadThread::current());
  }
  // Waits until a flight of another layer has ended, at most for max_wait. A thread that loads does not wait here: it
  // might be waited for, and circles are found among flights of a layer only.
  void wait_elsewhere(WaitLimit limit) {
    if (LoadThread::current().innermost != nullptr) return;
    std::unique_lock<std::mutex> hold(mutex_);
    changed_.wait_until(hold, limit.begin + limit.max_wait,
                        [&] { return (done_ || loaders_.empty()) && storer_ == nullptr; });
  }

 private:
  friend class FlightTable;
  friend class WaitGraph;

  bool is_loaded_by(const LoadThread& thread) const {
    return std::find(loaders_.begin(), loaders_.end(), &thread) != loaders_.end();
  }
  void begin_loading(const LoadThread& thread) {
    loaders_.push_back(&thread);
    last_began_ = LoadClock::now();
  }
  void end_loading(const LoadThread& thread) {
    const auto found = std::find(loaders_.begin(), loaders_.end(), &thread);
    if (found != loaders_.end()) loaders_.erase(found);
  }

  // When a waiter is to load as well. With the mutex held, like the next.
  LoadClock::time_point due(WaitLimit limit) const noexcept {
    const auto in_turn = (std::max)(limit.begin, last_began_) + limit.max_wait;
    const auto at_last = limit.begin + 4 * limit.max_wait;
    return (std::min)(in_turn, at_last);
  }
  Turn take_turn(LoadClock::time_point due, const LoadThread& me) {
    if (done_) return Turn::has_result;
    if (!loaders_.empty() && LoadClock::now() < due) return Turn::none;
    begin_loading(me);
    return Turn::loads;
  }
  // Of a flight that is voided. A thread that stores must not wait for one that may wait for it.
  void wait_for_store() {
    constexpr std::chrono::seconds longest(10);
    std::unique_lock<std::mutex> hold(mutex_);
    const auto is_stored = [&] { return storer_ == nullptr; };
    if (is_stored()) return;
    const bool may_wait = LoadThread::current().stores == 0;
    if (may_wait && changed_.wait_until(hold, LoadClock::now() + longest, is_stored)) return;
    erase_after_ = storer_ != nullptr;
  }

  std::mutex mutex_;  // of all that follows
  std::condition_variable changed_;
  std::vector<const LoadThread*> loaders_;  // one, unless it took longer than somebody wanted to wait
  LoadClock::time_point last_began_;        // when the last of them did
  std::size_t waiters_ = 0;
  bool done_ = false;  // `result_` is there, and stays as it is
  LoadResult result_;
  bool voided_ = false;                 // the key was changed: do not store
  const LoadThread* storer_ = nullptr;  // who is storing the result now
  bool erase_after_ = false;            // a change did not wait for the store, which must be taken back
};

// The flights that a loader which this thread runs is for.
struct LoadFrame {
  struct Led {
    std::shared_ptr<Flight> flight;
    bool storing = false;
    bool settled = false;
  };

  const FlightTable* table;
  const LoadFrame* outer;
  std::vector<Led> flights = {};

  // Whether this loader, or one around it, is for that key.
  bool loads(const FlightTable& of, std::string_view key, std::size_t hash, const void* layer) const {
    for (const LoadFrame* it = this; it != nullptr; it = it->outer) {
      if (it->table != &of) continue;
      for (const Led& led : it->flights) {
        if (led.settled || led.flight->hash != hash) continue;
        if (led.flight->layer == layer && led.flight->key == key) return true;
      }
    }
    return false;
  }
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
