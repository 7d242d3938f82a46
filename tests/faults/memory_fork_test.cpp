// A forked child goes on with its parent's MemoryCache, whatever other threads were doing with it.

#include <larder/memory_cache.hpp>

#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "../support/catch.hpp"
#include "../support/child.hpp"
#include "../support/sanitizers.hpp"
#include "../support/testing.hpp"

using larder::MemoryCache;
using larder::testing::Child;
using larder::testing::value_of;

namespace {

constexpr std::size_t keys = 200;

std::string key(std::size_t i) { return "key " + std::to_string(i); }

// Everything works, nothing is wrong, and most of what was not being written is there.
bool works(MemoryCache& cache) {
  std::size_t hits = 0;
  for (std::size_t i = 0; i < keys; ++i) {
    const auto value = cache.get("kept " + key(i));
    if (value && *value != value_of(key(i))) return false;
    hits += value ? 1U : 0U;
  }
  if (hits < keys / 2) return false;
  for (std::size_t i = 0; i < keys; ++i) {
    const auto value = cache.get(key(i));
    if (value && *value != value_of(key(i))) return false;
    cache.set(key(i), value_of(key(i)));
    if (cache.get(key(i)) != value_of(key(i)) || !cache.erase(key(i))) return false;
  }
  cache.clear();
  return cache.stats().bytes == 0 && cache.add("key", "value") && cache.get("key") == "value";
}

}  // namespace

TEST_CASE("a child of a process whose threads read and write a MemoryCache goes on with it") {
  if (larder::testing::sanitized) SKIP("a sanitizer's allocator may be locked at fork(), and stays so in the child");
  MemoryCache cache;
  for (std::size_t i = 0; i < keys; ++i) cache.set("kept " + key(i), value_of(key(i)));
  const bool writes = GENERATE(false, true);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (std::size_t seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      for (std::size_t i = seed; !done; i += 7) {
        cache.get(key(i % keys));
        if (writes && seed == 0) cache.set(key(i % keys), value_of(key(i % keys)));
      }
    });
  }
  std::size_t well = 0;
  constexpr std::size_t children = 60;
  for (std::size_t i = 0; i < children; ++i) {
    const Child child([&] {
      bool in_thread = false;  // the child's own threads come at once
      std::thread([&] { in_thread = works(cache); }).join();
      if (!in_thread) return false;
      cache.set("grandchild", "value");
      return Child([&] { return cache.get("grandchild") == "value" && cache.add("other", "value"); }).was_well();
    });
    well += child.was_well() ? 1U : 0U;
  }
  done = true;
  for (auto& thread : threads) thread.join();
  CHECK(well == children);
  CHECK(cache.get("kept " + key(0)) == value_of(key(0)));
}
