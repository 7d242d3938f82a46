// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#include "../../version.hpp"
#include "call.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Calls, the oldest first. Allocates nothing.
class Queue {
 public:
  bool empty() const noexcept { return !first_; }
  std::size_t size() const noexcept { return size_; }
  Call& front() const noexcept { return *first_; }
  // The first whose thread waits for it, or null.
  Call* first_attended() const noexcept {
    Call* call = first_;
    while (call && !call->is_attended) call = call->next;
    return call;
  }

  void push_back(Call& call) noexcept { insert(call, last_, nullptr); }
  void push_front(Call& call) noexcept { insert(call, nullptr, first_); }
  void remove(Call& call) noexcept {
    (call.previous ? call.previous->next : first_) = call.next;
    (call.next ? call.next->previous : last_) = call.previous;
    --size_;
  }

 private:
  void insert(Call& call, Call* previous, Call* next) noexcept {
    call.previous = previous;
    call.next = next;
    (previous ? previous->next : first_) = &call;
    (next ? next->previous : last_) = &call;
    ++size_;
  }

  Call* first_ = nullptr;
  Call* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
