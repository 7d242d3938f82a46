// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../version.hpp"
#include "flight.hpp"
#include "recent_loads.hpp"
#include "wait_graph.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// The loads of one cache that are under way, by key.
//
//   listed    ── result, not to be stored ──▶ off the list, done
//     │  └────── result ──▶ done and storing ── stored ──▶ off the list
//     └───────── change ──▶ off the list, voided: goes on for those who wait, and stores nothing
//
// Who comes while a flight is listed joins it. A loader that gives up (LoadCancelled, a dying thread) leaves the flight
// to one of those who wait. A change takes the flight off the list before its command, and waits if it is just being
// stored, so that the change is what comes last.
//
// Decorators share the table of the cache that they decorate, as a change through any of them is one for all. They may
// change keys and values, so a flight is joined only through the object that it was made through (its layer); who comes
// through another one waits, looks again, and then loads too.
//
// Locks: the table's mutex before a flight's; the mutex of WaitGraph before a flight's. No loader, no command and no
// observer is called with any of them held.
class FlightTable {
 public:
  enum class Part : unsigned char {
    leads,
    waits,
    waits_elsewhere,  // for a load of another layer
    nested,           // this thread is loading that key already
  };

  // Counts of what was done with loads. A change reads it before its command, and compares after it: the lower half is
  // how many flights are listed, the upper half how many times a load replaced a value.
  std::atomic<std::uint64_t> state{0};
  // How many loads have been stored: who missed before and leads after has to look again.
  std::atomic<std::uint64_t> stored{0};
  PerProcess<RecentLoads> recent;

  static std::size_t hash_of(std::string_view key) noexcept { return std::hash<std::string_view>()(key); }
  static bool any_listed(std::uint64_t state) noexcept { return (state & 0xFFFFFFFFU) != 0; }

  // Makes this thread the leader of a flight of the key, or finds the one to wait for. `alone`: no other layer's.
  std::pair<Part, std::shared_ptr<Flight>> join(std::string_view key, const void* layer, bool alone);
  // The flight of a key that nobody loads, which this thread leads then; null if somebody does.
  std::shared_ptr<Flight> lead(std::string_view key, const void* layer);

  // Waits for a turn.
  Flight::Turn wait(const std::shared_ptr<Flight>& flight, WaitLimit limit);

  // Before a change of a key: no load that is under way will be stored.
  void void_load(std::string_view key);
  void void_all();
  // After a change that stored something. True if a load that began meanwhile may have replaced what was stored.
  bool void_later_load(std::string_view key, std::uint64_t state_before);

 private:
  friend class Loading;
  static constexpr std::size_t remembered_sets = 4096;
  static constexpr std::uint64_t one_set = std::uint64_t{1} << 32;

  std::shared_ptr<Flight> list(std::string_view key, std::size_t hash, const void* layer);
  void unlist(const Flight& flight);
  bool is_loaded_by(const LoadThread& thread, std::string_view key, std::size_t hash, const void* layer) const {
    return thread.innermost != nullptr && thread.innermost->loads(*this, key, hash, layer);
  }
  void drop_if_vacant(Flight& flight);
  template <class Iterator>
  void void_and_wait(Iterator begin, Iterator end, std::unique_lock<std::mutex> table);

  bool publish(Flight& flight, LoadResult result, Store store);
  bool end_store(Flight& flight, bool was_stored);
  void leave(Flight& flight);

  std::mutex mutex_;  // of all that follows
  // One flight for each key and layer. A key is its flight's.
  std::unordered_multimap<std::string_view, std::shared_ptr<Flight>> flights_;
  // The hashes of the last keys whose values a load replaced, in a ring.
  std::vector<std::size_t> sets_ = std::vector<std::size_t>(remembered_sets);
};

inline std::shared_ptr<Flight> FlightTable::list(std::string_view key, std::size_t hash, const void* layer) {
  auto flight = std::make_shared<Flight>(key, hash, layer);
  flight->begin_loading(LoadThread::current());
  flights_.emplace(flight->key, flight);
  state.fetch_add(1);
  return flight;
}

// With the table's mutex held.
inline void FlightTable::unlist(const Flight& flight) {
  const auto [begin, end] = flights_.equal_range(flight.key);
  const auto found = std::find_if(begin, end, [&](const auto& listed) { return listed.second.get() == &flight; });
  if (found == end) return;
  const auto keep = std::move(found->second);  // the map's key is the flight's
  flights_.erase(found);
  state.fetch_sub(1);
}

inline std::pair<FlightTable::Part, std::shared_ptr<Flight>> FlightTable::join(std::string_view key, const void* layer,
                                                                               bool alone) {
  const std::size_t hash = hash_of(key);
  LoadThread& me = LoadThread::current();
  const std::lock_guard<std::mutex> hold(mutex_);
  std::shared_ptr<Flight> elsewhere;
  const auto [begin, end] = flights_.equal_range(key);
  for (auto it = begin; it != end; ++it) {
    Flight& flight = *it->second;
    const std::lock_guard<std::mutex> hold_flight(flight.mutex_);
    const bool is_mine = flight.is_loaded_by(me) || flight.storer_ == &me;
    if (flight.layer != layer) {
      if (!is_mine) elsewhere = it->second;
      continue;
    }
    if (!flight.done_ && is_mine) return {Part::nested, nullptr};
    if (flight.done_ || !flight.loaders_.empty()) return {Part::waits, it->second};
    flight.begin_loading(me);
    return {Part::leads, it->second};
  }
  if (is_loaded_by(me, key, hash, layer)) return {Part::nested, nullptr};
  if (elsewhere && !alone) return {Part::waits_elsewhere, std::move(elsewhere)};
  return {Part::leads, list(key, hash, layer)};
}

inline std::shared_ptr<Flight> FlightTable::lead(std::string_view key, const void* layer) {
  const std::size_t hash = hash_of(key);
  const std::lock_guard<std::mutex> hold(mutex_);
  if (flights_.count(key) != 0 || is_loaded_by(LoadThread::current(), key, hash, layer)) return nullptr;
  return list(key, hash, layer);
}

inline Flight::Turn FlightTable::wait(const std::shared_ptr<Flight>& flight, WaitLimit limit) {
  using Turn = Flight::Turn;
  struct Waiting {
    FlightTable& table;
    Flight& flight;
    bool ended = false;
    ~Waiting() {
      if (!ended) table.drop_if_vacant(flight);  // the thread dies
    }
  } waiting{*this, *flight};
  struct Waiter {
    Flight& flight;
    std::unique_lock<std::mutex>& hold;
    Waiter(Flight& its_flight, std::unique_lock<std::mutex>& its_hold) : flight(its_flight), hold(its_hold) {
      ++flight.waiters_;
    }
    ~Waiter() {
      if (!hold.owns_lock()) hold.lock();
      --flight.waiters_;
    }
  };
  LoadThread& me = LoadThread::current();
  std::optional<WaitGraph> graph;
  std::unique_lock<std::mutex> hold(flight->mutex_);
  const Waiter waiter(*flight, hold);
  for (;;) {
    const auto deadline = flight->due(limit);
    const Turn turn = flight->take_turn(deadline, me);
    waiting.ended = turn != Turn::none;
    if (waiting.ended) return turn;
    if (me.innermost == nullptr || graph) {
      flight->changed_.wait_until(hold, deadline);
      continue;
    }
    hold.unlock();
    graph.emplace(me, *flight);
    hold.lock();
    if (!graph->closes_circle() || flight->done_) continue;
    flight->begin_loading(me);
    waiting.ended = true;
    return Turn::loads;
  }
}

inline bool FlightTable::publish(Flight& flight, LoadResult result, Store store) {
  LoadThread& me = LoadThread::current();
  bool stores = false;
  {
    std::unique_lock<std::mutex> table(mutex_, std::defer_lock);
    if (store == Store::nothing) {
      table.lock();
      unlist(flight);  // before the result: a caller who comes later is to try again
    }
    const std::lock_guard<std::mutex> hold(flight.mutex_);
    flight.end_loading(me);
    if (flight.done_) return false;
    flight.result_ = std::move(result);
    flight.done_ = true;
    stores = store != Store::nothing && !flight.voided_;
    if (stores) flight.storer_ = &me;
  }
  flight.changed_.notify_all();
  if (stores && store == Store::set) {
    const std::lock_guard<std::mutex> hold(mutex_);
    sets_[(state.fetch_add(one_set) >> 32) % remembered_sets] = flight.hash;
  }
  return stores;
}

inline bool FlightTable::end_store(Flight& flight, bool was_stored) {
  bool erase = false;
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (was_stored) stored.fetch_add(1);
    unlist(flight);
    const std::lock_guard<std::mutex> hold_flight(flight.mutex_);
    flight.storer_ = nullptr;
    erase = flight.erase_after_;
  }
  flight.changed_.notify_all();
  return erase;
}

inline void FlightTable::leave(Flight& flight) {
  {
    const std::lock_guard<std::mutex> hold(flight.mutex_);
    flight.end_loading(LoadThread::current());
  }
  flight.changed_.notify_all();
  drop_if_vacant(flight);
}

inline void FlightTable::drop_if_vacant(Flight& flight) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const std::lock_guard<std::mutex> hold_flight(flight.mutex_);
  if (!flight.done_ && flight.loaders_.empty() && flight.waiters_ == 0) unlist(flight);
}

inline void FlightTable::void_load(std::string_view key) {
  std::unique_lock<std::mutex> hold(mutex_);
  const auto [begin, end] = flights_.equal_range(key);
  void_and_wait(begin, end, std::move(hold));
}

inline void FlightTable::void_all() {
  std::unique_lock<std::mutex> hold(mutex_);
  void_and_wait(flights_.begin(), flights_.end(), std::move(hold));
}

template <class Iterator>
void FlightTable::void_and_wait(Iterator begin, Iterator end, std::unique_lock<std::mutex> table) {
  std::vector<std::shared_ptr<Flight>> voided;
  voided.reserve(static_cast<std::size_t>(std::distance(begin, end)));  // what throws comes before what changes
  for (auto it = begin; it != end; ++it) {
    const std::lock_guard<std::mutex> hold_flight(it->second->mutex_);
    if (it->second->storer_ == &LoadThread::current()) continue;  // its own store, through a decorator
    it->second->voided_ = true;
    voided.push_back(it->second);
  }
  for (const auto& flight : voided) unlist(*flight);
  table.unlock();
  for (const auto& flight : voided) flight->wait_for_store();
}

inline bool FlightTable::void_later_load(std::string_view key, std::uint64_t state_before) {
  void_load(key);
  const std::uint64_t before = state_before >> 32;
  const std::lock_guard<std::mutex> hold(mutex_);
  const std::uint64_t sets = ((state.load() >> 32) - before) & 0xFFFFFFFFU;
  if (sets > remembered_sets) return true;
  const std::size_t hash = hash_of(key);
  for (std::uint64_t i = 0; i < sets; ++i) {
    if (sets_[static_cast<std::size_t>((before + i) % remembered_sets)] == hash) return true;
  }
  return false;
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
