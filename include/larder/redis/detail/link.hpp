// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../../version.hpp"
#include "../reply.hpp"
#include "call.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Whose replies a connection owes, in order: an entry for each command, null if its caller has left.
class InFlight {
 public:
  static constexpr std::size_t capacity = 512;  // half a piece of a batch of keys, for a cluster of two nodes

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  bool has_room_for(std::size_t commands) const noexcept { return size_ + commands <= capacity; }

  void push(Call& call) noexcept {
    for (std::size_t i = 0; i < call.count; ++i) at(size_++) = &call;
  }
  Call* pop() noexcept {
    Call* const call = at(0);
    first_ = (first_ + 1) % capacity;
    --size_;
    return call;
  }
  Call* front() noexcept { return empty() ? nullptr : at(0); }

  // Removes the last entry of a caller and all behind it; null if there is none left.
  Call* pop_last_call() noexcept {
    while (size_ != 0) {
      Call* const call = at(--size_);
      if (!call) continue;
      while (size_ != 0 && at(size_ - 1) == call) --size_;
      return call;
    }
    return nullptr;
  }

  // The caller leaves; returns how many entries were its.
  std::size_t forget(const Call& call) noexcept {
    std::size_t found = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      if (at(i) != &call) continue;
      at(i) = nullptr;
      ++found;
    }
    return found;
  }

  // Whether all entries are of one caller, those who have left aside.
  bool has_one_caller() noexcept {
    const Call* one = nullptr;
    for (std::size_t i = 0; i < size_; ++i) {
      if (!at(i) || at(i) == one) continue;
      if (one) return false;
      one = at(i);
    }
    return true;
  }

  // The first whose thread waits for it, or null.
  Call* first_attended() noexcept {
    for (std::size_t i = 0; i < size_; ++i) {
      if (at(i) && at(i)->is_attended) return at(i);
    }
    return nullptr;
  }

 private:
  Call*& at(std::size_t index) noexcept { return entries_[(first_ + index) % capacity]; }

  std::array<Call*, capacity> entries_{};
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

// What the scheduler knows of a connection. All of it belongs to the lock of the pool, unless it says otherwise.
struct LinkState {
  LinkState() { received.reserve(InFlight::capacity); }

  Call* leader = nullptr;                  // whose thread receives, or is on the way
  bool counts_as_batch = false;            // its leader takes others along
  bool is_exclusive = false;               // is carrying out the large call of its leader
  bool needs_check = false;                // has rested, and is asked whether it is sound before it is used
  bool has_rested = false;                 // has been idle since it was opened
  bool is_doubtful = false;                // another connection has broken since this one was found to be sound
  bool was_looked_at = false;              // nothing more had come when its leader's own call was done
  bool is_retired = false;                 // goes as soon as it is idle
  bool is_unusable = false;                // replies are owed to nobody
  bool is_broken = false;                  // goes as soon as nobody sends on it
  bool is_timed = false;                   // the next reply tells how long a round trip takes
  std::size_t awaited = 0;                 // entries in flight whose caller is there
  InFlight in_flight;                      // what is owed
  std::size_t in_place = 0;                // belongs to the leader: replies that it has put where they belong
  std::vector<Reply> received;             // belongs to the leader: replies to be handed out
  std::atomic<bool> is_wrong_node{false};  // others should be asked: not to be used again; read without the lock
  std::atomic<bool> sending{false};        // a thread sends without the lock; only that thread sets it to false
  std::atomic<std::int64_t> sent_at{0};    // written by the thread that sends: when, in nanoseconds
};

template <class Connection>
struct Link : LinkState {
  explicit Link(std::unique_ptr<Connection> made) : connection(std::move(made)) {}

  std::unique_ptr<Connection> connection;  // its sending half belongs to who has set `sending`, the other to the leader
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
