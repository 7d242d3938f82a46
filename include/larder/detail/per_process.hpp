// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "../version.hpp"
#include "process.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// An object made when it is first needed, and anew in a forked child: another thread of the parent may have held its
// locks at the moment of the fork, so a child never touches its parent's object, and leaks it.
template <class T>
class PerProcess {
 public:
  PerProcess() = default;
  PerProcess(const PerProcess&) = delete;
  PerProcess& operator=(const PerProcess&) = delete;
  ~PerProcess() {
    const Node* const node = node_.load(std::memory_order_acquire);
    if (node != nullptr && node->generation == process_generation()) delete node;
  }

  // The object, or null if there was no need of it yet. In a child it may be the parent's: only what is atomic in it
  // may be looked at before get() was called.
  T* find() noexcept {
    Node* const node = node_.load();
    return node == nullptr ? nullptr : &node->object;
  }

  // The object of this process, or null if there was no need of it yet.
  T* own() noexcept {
    Node* const node = node_.load(std::memory_order_acquire);
    return node != nullptr && node->generation == process_generation() ? &node->object : nullptr;
  }

  // Made from `arguments` if it has to be made.
  template <class... Arguments>
  T& get(const Arguments&... arguments) {
    Node* node = node_.load(std::memory_order_acquire);
    while (node == nullptr || node->generation != process_generation()) {
      Node* const fresh = new Node(arguments...);
      if (node_.compare_exchange_strong(node, fresh)) return fresh->object;
      delete fresh;
    }
    return node->object;
  }

 private:
  struct Node {
    template <class... Arguments>
    explicit Node(const Arguments&... arguments)
        : generation((watch_forks(), process_generation())), object(arguments...) {}

    const std::uint32_t generation;
    T object;
  };

  std::atomic<Node*> node_{nullptr};
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
