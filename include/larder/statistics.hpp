// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>

#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// What a cache has counted since it was made. What a cache cannot count stays 0.
struct CacheStats {
  std::uint64_t hits = 0;         ///< keys that were read and found
  std::uint64_t misses = 0;       ///< keys that were read and not found
  std::uint64_t sets = 0;         ///< values stored, by `set`, `add` and `set_many`
  std::uint64_t erases = 0;       ///< live keys removed by `erase`, `erase_many`, or an expiry that had passed
  std::uint64_t errors = 0;       ///< calls that threw
  std::uint64_t entries = 0;      ///< entries now, expired ones that are not freed yet included
  std::uint64_t bytes = 0;        ///< memory of the entries now, and of what finds them
  std::uint64_t evictions = 0;    ///< entries removed to make room
  std::uint64_t expirations = 0;  ///< expired entries that were freed
  std::uint64_t refused = 0;      ///< values that were too large to keep
};

/// What a TypedCache or a LoadingCache has counted since it was made.
struct LoadStats {
  std::uint64_t loads = 0;                ///< loader calls that returned
  std::uint64_t failures = 0;             ///< loader calls that threw
  std::uint64_t joined = 0;               ///< calls that waited for another thread's load
  std::uint64_t voided = 0;               ///< loaded values that were not stored, because the key was changed meanwhile
  std::uint64_t stale = 0;                ///< calls that returned a value past its expiry
  std::uint64_t refreshes = 0;            ///< loads of a value that had not expired, or in the background
  std::uint64_t undecodable = 0;          ///< values in the cache that could not be decoded
  std::chrono::nanoseconds load_time{0};  ///< time spent in loaders
};

}  // namespace LARDER_ABI
}  // namespace larder

namespace larder::redis {
inline namespace LARDER_ABI {

/// What a Pool has counted since it was made.
struct PoolStats {
  std::uint64_t connections = 0;       ///< open now
  std::uint64_t connects = 0;          ///< connections opened
  std::uint64_t connect_failures = 0;  ///< attempts to connect that failed
  std::uint64_t lost = 0;              ///< connections that broke
  std::uint64_t calls = 0;             ///< calls of run()
  std::uint64_t batches = 0;           ///< batches of calls sent in one write
  std::uint64_t repeats = 0;           ///< calls sent once more, after their connection broke
  std::uint64_t timeouts = 0;          ///< calls whose time ran out
  std::uint64_t failed_fast = 0;       ///< calls that failed at once, between two attempts to connect
  std::uint64_t waiting = 0;           ///< calls that wait for a connection now
};

}  // namespace LARDER_ABI
}  // namespace larder::redis
