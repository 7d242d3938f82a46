// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <vector>

#include "../../version.hpp"
#include "endpoint.hpp"
#include "nodes.hpp"
#include "slot.hpp"
#include "topology.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// Which node has which slot, as far as is known. Thread-safe; a look takes no lock.
class SlotMap {
 public:
  SlotMap() noexcept {
    for (auto& owner : owners_) owner.store(nullptr, std::memory_order_relaxed);
  }

  // None: not known.
  Node* owner(std::size_t slot) const noexcept { return owners_[slot].load(std::memory_order_acquire); }

  void set(std::size_t slot, Node& node) noexcept { owners_[slot].store(&node, std::memory_order_release); }

  // What `teller` says. Slots of which it says nothing keep their owner, who will tell that they are not served.
  void set(const Topology& topology, const Node& teller, Nodes& nodes) {
    std::vector<Node*> primaries;
    for (const Endpoint& primary : topology.primaries) {
      primaries.push_back(&nodes.at({primary.host.empty() ? teller.endpoint.host : primary.host, primary.port}));
    }
    for (const auto& range : topology.ranges) {
      for (std::size_t slot = range.first; slot <= range.last; ++slot) set(slot, *primaries[range.primary]);
    }
  }

  // The nodes that have slots.
  std::vector<Node*> primaries() const {
    std::vector<Node*> nodes;
    for (const auto& owner : owners_) {
      Node* const node = owner.load(std::memory_order_acquire);
      if (node && (nodes.empty() || nodes.back() != node)) nodes.push_back(node);
    }
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    return nodes;
  }

 private:
  std::array<std::atomic<Node*>, slot_count> owners_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
