// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base_cache.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// Keeps nothing, to switch caching off: every read is a miss, and `add`, `touch` and `erase` give false.
class NullCache : public BaseCache {
 private:
  std::optional<std::string> do_get(std::string_view) override { return std::nullopt; }
  void do_set(std::string_view, std::string_view, Ttl) override {}
  bool do_add(std::string_view, std::string_view, Ttl) override { return false; }
  bool do_touch(std::string_view, Ttl) override { return false; }
  bool do_erase(std::string_view) override { return false; }
  void do_clear() override {}
  bool do_tells_time() const noexcept override { return true; }
};

}  // namespace LARDER_ABI
}  // namespace larder
