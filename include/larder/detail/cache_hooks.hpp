// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../version.hpp"
#include "batch.hpp"
#include "cache_loads.hpp"
#include "fwd.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// The hooks of a cache, for those who load: what they read and store goes through the object that was called, and is no
// change. Defined after BaseCache, in cache_hooks_definitions.hpp.
struct CacheHooks {
  using Ttl = std::optional<std::chrono::milliseconds>;

  static CacheLoads& loads(BaseCache& cache) noexcept;
  static bool tells_time(const BaseCache& cache) noexcept;
  static std::uint64_t hidden_failures(const BaseCache& cache) noexcept;
  static std::optional<std::string> get(BaseCache& cache, std::string_view key);
  // Also the time that is left, as BaseCache::Entry has it.
  static std::optional<std::string> get_entry(BaseCache& cache, std::string_view key, Ttl& time_left);
  static void get_many(BaseCache& cache, const std::vector<std::string_view>& keys,
                       std::vector<std::optional<std::string>>& values);
  static void set(BaseCache& cache, std::string_view key, std::string_view value, Ttl ttl);
  static bool add(BaseCache& cache, std::string_view key, std::string_view value, Ttl ttl);
  static void set_many(BaseCache& cache, const std::vector<Item>& items, Ttl ttl);
  static void erase(BaseCache& cache, std::string_view key);
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
