// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
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
    for (std::size_t slot = 0; slot < slot_count; ++slot) {
      if (topology.owners[slot] != Topology::nobody) set(slot, *primaries[topology.owners[slot]]);
    }
  }

  // The nodes that have slots, in an order that stays while they do.
  std::vector<Node*> primaries() const {
    std::vector<Node*> nodes;
    const Node* last = nullptr;
    for (const auto& owner : owners_) {
      Node* const node = owner.load(std::memory_order_acquire);
      if (!node || node == last) continue;
      last = node;
      const auto place = std::lower_bound(nodes.begin(), nodes.end(), node, std::less<>());
      if (place == nodes.end() || *place != node) nodes.insert(place, node);
    }
    return nodes;
  }

 private:
  std::array<std::atomic<Node*>, slot_count> owners_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
