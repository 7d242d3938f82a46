// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../version.hpp"
#include "../reply.hpp"
#include "endpoint.hpp"
#include "slot.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// Who has which slots, as one node sees it. Slots that nobody serves are in no range.
struct Topology {
  struct Range {
    std::size_t first, last;  // slots, both included
    std::size_t primary;      // in primaries
  };

  std::vector<Endpoint> primaries;
  std::vector<Range> ranges;  // in the order of the slots; they do not overlap
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

// What CLUSTER SLOTS answers with: rows of [first slot, last slot, primary, replicas…]. Nothing if any of it makes no
// sense, or if no slot is served: another node may know better.
inline std::optional<Topology> read_topology(Reply& reply) {
  if (reply.kind() != Reply::Kind::array) return std::nullopt;
  Topology topology;
  std::map<std::pair<std::string, int>, std::size_t> known;
  for (Reply& row : reply.take_array()) {
    if (row.kind() != Reply::Kind::array) return std::nullopt;
    auto parts = row.take_array();
    if (parts.size() < 3) return std::nullopt;
    const auto first = read_slot(parts[0]), last = read_slot(parts[1]);
    auto primary = read_node(parts[2]);
    if (!first || !last || *first > *last || !primary) return std::nullopt;
    const auto [place, is_new] = known.try_emplace({primary->host, primary->port}, topology.primaries.size());
    if (is_new) topology.primaries.push_back(std::move(*primary));
    topology.ranges.push_back({*first, *last, place->second});
  }
  std::sort(topology.ranges.begin(), topology.ranges.end(),
            [](const auto& one, const auto& other) { return one.first < other.first; });
  const auto overlap = [](const auto& one, const auto& next) { return one.last >= next.first; };
  const auto end = topology.ranges.end();
  if (topology.ranges.empty() || std::adjacent_find(topology.ranges.begin(), end, overlap) != end) return std::nullopt;
  return topology;
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
