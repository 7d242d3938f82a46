// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "../../version.hpp"
#include "endpoint.hpp"
#include "slot.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// What a node of a cluster answers in place of carrying a command out.
struct Redirect {
  enum class Kind : unsigned char {
    moved,  // the slot belongs to another node
    ask,    // the slot is on its way to another node, and the key may be there already
    down    // nobody serves the slot now
  };

  Kind kind;
  std::size_t slot = 0;  // of moved and ask
  Endpoint to;           // of moved and ask
};

// Nothing for every other failure, and for a redirect that makes no sense.
inline std::optional<Redirect> read_redirect(std::string_view failure) {
  using Kind = Redirect::Kind;
  const std::string_view code = failure.substr(0, failure.find(' '));
  if (code == "CLUSTERDOWN") return Redirect{Kind::down, 0, {}};
  if (code != "MOVED" && code != "ASK") return std::nullopt;
  failure.remove_prefix((std::min)(code.size() + 1, failure.size()));
  const std::size_t space = failure.find(' ');
  const auto slot = read_integer(failure.substr(0, space), 0, static_cast<int>(slot_count) - 1);
  if (!slot || space == std::string_view::npos) return std::nullopt;
  auto to = read_endpoint(failure.substr(space + 1));
  if (!to) return std::nullopt;
  return Redirect{code == "MOVED" ? Kind::moved : Kind::ask, static_cast<std::size_t>(*slot), std::move(*to)};
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
