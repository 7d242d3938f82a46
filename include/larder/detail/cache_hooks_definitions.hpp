// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../base_cache.hpp"
#include "../version.hpp"
#include "cache_hooks.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

inline CacheLoads& CacheHooks::loads(BaseCache& cache) noexcept { return cache.loads_; }
inline bool CacheHooks::tells_time(const BaseCache& cache) noexcept { return cache.do_tells_time(); }
inline std::uint64_t CacheHooks::hidden_failures(const BaseCache& cache) noexcept { return cache.do_hidden_failures(); }
inline std::optional<std::string> CacheHooks::get(BaseCache& cache, std::string_view key) { return cache.do_get(key); }
inline std::optional<std::string> CacheHooks::get_entry(BaseCache& cache, std::string_view key, Ttl& time_left) {
  auto entry = cache.do_get_entry(key);
  if (!entry) return std::nullopt;
  time_left = entry->time_left;
  return std::move(entry->value);
}
inline void CacheHooks::get_many(BaseCache& cache, const std::vector<std::string_view>& keys,
                                 std::vector<std::optional<std::string>>& values) {
  cache.do_get_many(keys, values);
}
inline void CacheHooks::set(BaseCache& cache, std::string_view key, std::string_view value, Ttl ttl) {
  cache.do_set(key, value, ttl);
}
inline bool CacheHooks::add(BaseCache& cache, std::string_view key, std::string_view value, Ttl ttl) {
  return cache.do_add(key, value, ttl);
}
inline void CacheHooks::set_many(BaseCache& cache, const std::vector<Item>& items, Ttl ttl) {
  cache.do_set_many(items, ttl);
}
inline void CacheHooks::erase(BaseCache& cache, std::string_view key) { cache.do_erase(key); }

}  // namespace LARDER_ABI
}  // namespace larder::detail
