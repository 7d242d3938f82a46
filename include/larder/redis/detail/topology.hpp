// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "../../version.hpp"
#include "../reply.hpp"
#include "endpoint.hpp"
#include "slot.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Who has which slots, as one node sees it.
struct Topology {
  static constexpr std::size_t nobody = slot_count;

  std::vector<Endpoint> primaries;
  std::vector<std::size_t> owners;  // of the slots: places in primaries, or nobody
};

inline std::optional<std::size_t> read_slot(const Reply& reply) {
  if (reply.kind() != Reply::Kind::integer) return std::nullopt;
  const std::int64_t slot = reply.integer();
  if (slot < 0 || slot >= static_cast<std::int64_t>(slot_count)) return std::nullopt;
  return static_cast<std::size_t>(slot);
}

// [endpoint, port, id, …]; nil and `?` stand for a host that is not known.
inline std::optional<Endpoint> read_node(Reply& reply) {
  using Kind = Reply::Kind;
  if (reply.kind() != Kind::array) return std::nullopt;
  const auto parts = reply.take_array();
  if (parts.size() < 2 || parts[1].kind() != Kind::integer) return std::nullopt;
  const std::int64_t port = parts[1].integer();
  if (port < 1 || port > 65535) return std::nullopt;
  if (parts[0].kind() == Kind::null) return make_endpoint({}, static_cast<int>(port));
  if (parts[0].kind() != Kind::string) return std::nullopt;
  return make_endpoint(parts[0].string(), static_cast<int>(port));
}

// Where `primary` is among the known ones, of which it is one from now on.
inline std::size_t index_in(std::vector<Endpoint>& known, Endpoint primary) {
  std::size_t index = 0;
  while (index < known.size() && known[index] != primary) ++index;
  if (index == known.size()) known.push_back(std::move(primary));
  return index;
}

// What CLUSTER SLOTS answers with: rows of [first slot, last slot, primary, replicas…]. Nothing if any of it makes no
// sense, as a slot with two primaries, or if no slot is served: another node may know better.
inline std::optional<Topology> read_topology(Reply& reply) {
  if (reply.kind() != Reply::Kind::array) return std::nullopt;
  Topology topology;
  topology.owners.resize(slot_count, Topology::nobody);
  for (Reply& row : reply.take_array()) {
    if (row.kind() != Reply::Kind::array) return std::nullopt;
    auto parts = row.take_array();
    if (parts.size() < 3) return std::nullopt;
    const auto first = read_slot(parts[0]), last = read_slot(parts[1]);
    auto primary = read_node(parts[2]);
    if (!first || !last || *first > *last || !primary) return std::nullopt;
    const std::size_t owner = index_in(topology.primaries, std::move(*primary));
    for (std::size_t slot = *first; slot <= *last; ++slot) {
      if (std::exchange(topology.owners[slot], owner) != Topology::nobody) return std::nullopt;
    }
  }
  if (topology.primaries.empty()) return std::nullopt;
  return topology;
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
