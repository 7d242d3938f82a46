#include <larder/memory_cache.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <list>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "support/catch.hpp"
#include "support/test_clock.hpp"
#include "support/testing.hpp"

#ifdef __has_feature
#define LARDER_CLANG_HAS(feature) __has_feature(feature)
#else
#define LARDER_CLANG_HAS(feature) 0
#endif
#if !defined(__SANITIZE_THREAD__) && !LARDER_CLANG_HAS(thread_sanitizer)  // it replaces operator new itself
#define LARDER_TEST_ALLOCATIONS
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !LARDER_CLANG_HAS(address_sanitizer)
#define LARDER_TEST_HEAP
#include <malloc.h>
#include <unistd.h>

#include <fstream>
#endif
#endif

#ifdef LARDER_TEST_ALLOCATIONS

namespace {

thread_local std::optional<std::size_t> allocations_left;
std::atomic<std::size_t> heap_in_use{0};

std::size_t heap_size([[maybe_unused]] void* block) {
#ifdef LARDER_TEST_HEAP
  return block == nullptr ? 0 : malloc_usable_size(block) + sizeof(std::size_t);
#else
  return 0;
#endif
}

}  // namespace

// Not inlined, or GCC takes them for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (allocations_left && (*allocations_left)-- == 0) throw std::bad_alloc();
  void* const block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  heap_in_use += heap_size(block);
  return block;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept try {
  return operator new(size);
} catch (const std::bad_alloc&) {
  return nullptr;
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  heap_in_use -= heap_size(block);
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept { operator delete(block); }

#endif

namespace {

using larder::MemoryCache;
using larder::testing::value_of;
using namespace std::chrono_literals;

static_assert(std::is_base_of_v<larder::BaseCache, MemoryCache>);
static_assert(std::is_default_constructible_v<MemoryCache>);
static_assert(!std::is_convertible_v<MemoryCache::Options, MemoryCache>);
static_assert(!std::is_copy_constructible_v<MemoryCache>);

constexpr std::size_t mebibyte = std::size_t{1} << 20;

std::string key_of(std::size_t number) {
  std::string key = std::to_string(number);
  return "key:" + std::string(12 - key.size(), '0') + key;  // 16 bytes
}

MemoryCache::Options options(std::size_t max_bytes, std::size_t shards = 1) {
  MemoryCache::Options options;
  options.max_bytes = max_bytes;
  options.shards = shards;
  return options;
}

std::size_t count_live(MemoryCache& cache, std::size_t keys) {
  std::size_t live = 0;
  for (std::size_t i = 0; i < keys; ++i) live += cache.contains(key_of(i)) ? 1U : 0U;
  return live;
}

struct Clock : larder::testing::TestClock {
  static MemoryCache::Options drives(MemoryCache::Options options) {
    time = TimePoint(1h);
    return TestClock::drives(options);
  }
};

// The clock is read in the middle of a hit: a thread can be stopped there.
struct Gate {
  static inline thread_local bool stops_here = false;
  static inline std::atomic<bool> reached{false}, may_go_on{false}, passed_in_time{false};

  static Clock::TimePoint now() {
    if (stops_here) {
      reached = true;
      passed_in_time = opens(may_go_on);
    }
    return std::chrono::steady_clock::now();
  }
  static bool opens(const std::atomic<bool>& gate) {
    const auto deadline = std::chrono::steady_clock::now() + 1min;
    while (!gate && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return gate;
  }
};

// A thread that is stopped in the middle of a hit.
class StoppedReader {
 public:
  explicit StoppedReader(MemoryCache& cache) {
    Gate::reached = Gate::may_go_on = false;
    thread_ = std::thread([&cache] {
      Gate::stops_here = true;
      cache.get("key");
    });
    reached = Gate::opens(Gate::reached);
  }
  void go_on() {
    Gate::may_go_on = true;
    thread_.join();
  }

  bool reached = false;

 private:
  std::thread thread_;
};

class ExactLru {
 public:
  explicit ExactLru(std::size_t capacity) : capacity_(capacity) {}

  bool get_or_add(std::size_t key) {
    if (const auto found = places_.find(key); found != places_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return true;
    }
    if (places_.size() == capacity_) {
      places_.erase(order_.back());
      order_.pop_back();
    }
    order_.push_front(key);
    places_[key] = order_.begin();
    return false;
  }

 private:
  std::size_t capacity_;
  std::list<std::size_t> order_;
  std::unordered_map<std::size_t, std::list<std::size_t>::iterator> places_;
};

class Zipf {
 public:
  Zipf(std::size_t count, double exponent) : sums_(count) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sums_[i] = sum += std::pow(static_cast<double>(i + 1), -exponent);
  }

  std::size_t operator()() {
    const double point = static_cast<double>(random_() >> 11) / 9007199254740992.0 * sums_.back();  // of 2^53
    const auto found = std::upper_bound(sums_.begin(), sums_.end() - 1, point);
    return static_cast<std::size_t>(found - sums_.begin());
  }

 private:
  std::vector<double> sums_;
  std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("MemoryCache refuses options that cannot be used, and names them") {
  const auto message = [](MemoryCache::Options options) -> std::string {
    try {
      MemoryCache cache(options);
    } catch (const larder::InvalidArgument& error) {
      return error.what();
    }
    return "accepted";
  };
  MemoryCache::Options no_clock;
  no_clock.now = nullptr;
  CHECK(message(options(0)).find("max_bytes") != std::string::npos);
  CHECK(message(options(mebibyte, 0)).find("shards") != std::string::npos);
  CHECK(message(no_clock).find("now") != std::string::npos);
  CHECK(message(options(1)) == "accepted");
  CHECK(message(options(mebibyte, std::numeric_limits<std::size_t>::max())) == "accepted");
}

TEST_CASE("MemoryCache keeps within max_bytes whatever is written") {
  const auto shards = GENERATE(std::size_t{1}, std::size_t{4});
  const std::size_t max_bytes = 4 * mebibyte;
  const std::size_t keys = 4000;
  MemoryCache cache(options(max_bytes, shards));
  std::mt19937_64 random(shards);
  std::size_t least = max_bytes;
  for (std::size_t round = 0; round < 20; ++round) {
    const std::size_t longest = round % 2 == 0 ? 200 : 20000;
    for (std::size_t i = 0; i < 4000; ++i) {
      const std::string key = key_of(random() % keys);
      switch (random() % 8) {
        case 0:
          cache.erase(key);
          break;
        case 1:
          cache.add(key, value_of(key, random() % longest));
          break;
        default:
          cache.set(key, value_of(key, random() % longest));
      }
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < keys; ++i) {
      const std::string key = key_of(i);
      if (const auto value = cache.get(key)) {
        REQUIRE(*value == value_of(key, value->size()));
        bytes += key.size() + value->size();
      }
    }
    REQUIRE(bytes <= max_bytes);
    if (round % 2 == 1) least = std::min(least, bytes);
  }
  CHECK(least > max_bytes / 2);
}

TEST_CASE("MemoryCache with very little room stays usable") {
  const std::size_t max_bytes = GENERATE(std::size_t{1}, std::size_t{1000}, std::size_t{3000}, std::size_t{8192});
  MemoryCache cache(options(max_bytes, 8));
  std::size_t hits = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    cache.set(key_of(i), value_of(key_of(i)));
    if (const auto value = cache.get(key_of(i))) {
      REQUIRE(*value == value_of(key_of(i)));
      ++hits;
    }
  }
  CHECK(hits == (max_bytes < 2000 ? 0U : 100U));
  CHECK(count_live(cache, 100) * 116 <= max_bytes);
}

TEST_CASE("MemoryCache keeps an entry of half of max_bytes, whatever the shards") {
  const auto shards = GENERATE(std::size_t{1}, std::size_t{3}, std::size_t{16});
  const std::size_t max_bytes = 16 * mebibyte;
  const std::size_t keys = 100000;
  const std::string half(max_bytes / 2, 'x');
#ifdef LARDER_TEST_HEAP
  const std::size_t before = heap_in_use;
#endif
  MemoryCache cache(options(max_bytes, shards));
  for (std::size_t i = 0; i < keys; ++i) cache.set(key_of(i), value_of(key_of(i)));
  const std::size_t full = count_live(cache, keys);
  for (const std::string key : {"a", "b", "c", "d"}) {
    cache.set(key, half);
    CHECK((cache.get(key) == half));
    CHECK(cache.erase(key));
    CHECK(cache.add(key, half));
    CHECK((cache.get(key) == half));
    CHECK((key == "d" || cache.erase(key)));
#ifdef LARDER_TEST_HEAP
    CHECK(heap_in_use - before <= max_bytes);
#endif
  }
  CHECK(count_live(cache, keys) > full / 3);
  CHECK(cache.stats().refused == 0);

  const std::size_t kept = count_live(cache, keys);
  cache.set("d", half);  // in place of one as large: nothing has to go
  CHECK(count_live(cache, keys) == kept);
}

TEST_CASE("MemoryCache does not lose the small entries of a shard for a large one in it") {
  MemoryCache cache(options(16 * mebibyte, 8));
  const std::string large(6 * mebibyte, 'x');
  cache.set("large", large);
  std::size_t missed = 0;
  for (std::size_t i = 0; i < 200000; ++i) {
    cache.set(key_of(i), value_of(key_of(i)));
    if (i % 1000 == 0) cache.get("large");
    if (i >= 10000 && !cache.contains(key_of(i - 10000))) ++missed;  // of some 50,000 that have room
  }
  CHECK(missed == 0);
  CHECK(cache.contains("large"));
}

TEST_CASE("MemoryCache does not store what does not fit, counts it, and forgets the earlier value") {
  MemoryCache cache(options(4 * mebibyte, 4));
  const std::string too_large(4 * mebibyte, 'x');
  cache.set("key", "small");
  REQUIRE(cache.get("key") == "small");
  cache.set("key", too_large);
  CHECK(cache.get("key") == std::nullopt);
  CHECK_FALSE(cache.add("key", too_large));
  CHECK_FALSE(cache.contains("key"));
  CHECK(cache.stats().refused == 2);

  cache.set("key", "small");
  CHECK_FALSE(cache.add("key", too_large));
  CHECK(cache.get("key") == "small");
  CHECK(cache.stats().refused == 3);
  CHECK(cache.stats().sets == 2);
}

TEST_CASE("MemoryCache counts what it does") {
  MemoryCache cache(Clock::drives(options(mebibyte)));
  const auto has = [&](std::uint64_t larder::CacheStats::*count, std::uint64_t expected) {
    return cache.stats().*count == expected;
  };
  using Stats = larder::CacheStats;
  CHECK((has(&Stats::entries, 0) && has(&Stats::bytes, 0) && has(&Stats::errors, 0)));
  cache.set("a", "1");
  cache.set("a", "2");
  CHECK(cache.add("b", "3", 1s));
  CHECK_FALSE(cache.add("b", "4"));
  CHECK((has(&Stats::sets, 3) && has(&Stats::entries, 2)));
  CHECK(cache.stats().bytes > 0);

  CHECK((cache.get("a") && cache.get("b") && !cache.get("c")));
  CHECK(cache.get_entry("a"));
  CHECK_FALSE(cache.get_entry("c"));
  CHECK((cache.contains("a") && !cache.contains("c")));  // no reading
  cache.get_many({"a", "c", "c"});
  CHECK((has(&Stats::hits, 4) && has(&Stats::misses, 4)));

  CHECK((cache.erase("a") && !cache.erase("a")));
  cache.set("a", "5");
  cache.set("a", "6", 0);
  CHECK((has(&Stats::erases, 2) && has(&Stats::expirations, 0)));
  Clock::advance(1s);
  CHECK_FALSE(cache.get("b"));
  CHECK((has(&Stats::misses, 5) && has(&Stats::entries, 1)));
  cache.set("b", "7");
  CHECK((has(&Stats::expirations, 1) && has(&Stats::entries, 1)));

  std::size_t written = 0;
  while (has(&Stats::evictions, 0)) cache.set(key_of(written++), value_of("v", 1000));
  CHECK(written > 900);
  const auto stats = cache.stats();
  CHECK(stats.entries == written + 1 - stats.evictions);
  CHECK(stats.bytes <= mebibyte);
  cache.clear();
  CHECK((has(&Stats::entries, 0) && has(&Stats::bytes, 0)));
  CHECK((has(&Stats::sets, stats.sets) && has(&Stats::erases, 2)));
}

TEST_CASE("MemoryCache counts every hit and miss of many threads") {
  MemoryCache cache;
  cache.set("key", "value");
  std::atomic<bool> done{false};
  std::thread writer([&] {
    while (!done) cache.set("key", "value");
  });
  constexpr std::size_t threads = 6, rounds = 20000;
  larder::testing::in_threads(threads, [&](const std::string&) {
    for (std::size_t i = 0; i < rounds; ++i) {
      cache.get("key");
      cache.get("absent");
      if (i % 8 == 0) cache.get("absent, too");
    }
  });
  done = true;
  writer.join();
  CHECK(cache.stats().hits == threads * rounds);
  CHECK(cache.stats().misses == threads * (rounds + rounds / 8));
}

TEST_CASE("MemoryCache makes room for an entry of nearly a shard's part among small ones") {
  const std::string large(mebibyte - 16384, 'x');
#ifdef LARDER_TEST_HEAP
  const std::size_t before = heap_in_use;
#endif
  MemoryCache cache(options(mebibyte));
  for (std::size_t i = 0; i < 20000; ++i) cache.set(key_of(i), "");
  REQUIRE(count_live(cache, 20000) > 5000);
  cache.set("large", large);
#ifdef LARDER_TEST_HEAP
  CHECK(heap_in_use - before <= mebibyte);
#endif
  CHECK(cache.get("large") == large);
  CHECK(count_live(cache, 20000) < 200);
  for (std::size_t i = 0; i < 20000; ++i) {
    cache.set(key_of(i), "");
    cache.get(key_of(i));
  }
  CHECK_FALSE(cache.contains("large"));
  CHECK(count_live(cache, 20000) > 5000);
}

TEST_CASE("MemoryCache evicts the oldest entry that was not read since the hand last came by") {
  MemoryCache cache(options(mebibyte));
  std::size_t next = 0;
  const auto set_next = [&] {
    cache.set(key_of(next), value_of(key_of(next)));
    ++next;
  };
  while (next == 0 || cache.contains(key_of(0))) set_next();  // contains is not a use, nor is being replaced by age
  REQUIRE(next > 1000);
  REQUIRE(cache.contains(key_of(1)));

  const auto oldest = [&] {
    std::size_t i = 0;
    while (!cache.contains(key_of(i))) ++i;
    return i;
  };
  const std::size_t spared = oldest();
  REQUIRE(cache.get(key_of(spared)) == value_of(key_of(spared)));
  for (int i = 0; i < 100; ++i) set_next();
  CHECK(cache.contains(key_of(spared)));
  CHECK_FALSE(cache.contains(key_of(spared + 1)));
  CHECK_FALSE(cache.contains(key_of(spared + 50)));
  CHECK(cache.contains(key_of(next - 1)));

  for (std::size_t i = spared + 1; i < next; ++i) cache.get(key_of(i));
  set_next();
  CHECK_FALSE(cache.contains(key_of(spared)));
  CHECK(cache.contains(key_of(oldest() + 1)));
}

TEST_CASE("MemoryCache keeps what is used while a scan goes by") {
  MemoryCache cache(options(8 * mebibyte, 8));
  const auto hot = [](std::size_t i) { return "hot:" + std::to_string(i); };
  for (std::size_t i = 0; i < 1000; ++i) cache.set(hot(i), value_of(hot(i)));
  std::size_t hits = 0;
  for (std::size_t i = 0; i < 200000; ++i) {
    hits += cache.get(hot(i % 1000)) ? 1U : 0U;
    cache.set(key_of(i), value_of(key_of(i)));
  }
  CHECK(hits == 200000);
  CHECK(count_live(cache, 200000) > 20000);
}

TEST_CASE("MemoryCache hits more often than exact LRU on Zipf traces at a tenth of the keys") {
  const double exponent = GENERATE(0.9, 1.0, 1.1);
  const std::size_t keys = 50000;
  const std::size_t requests = 500000;
  MemoryCache cache(options(keys / 10 * 186));
  for (std::size_t i = 0; i < keys; ++i) cache.set(key_of(i), value_of(key_of(i)));
  const std::size_t capacity = count_live(cache, keys);  // both have the same bytes: those of this many entries
  REQUIRE(capacity > keys * 95 / 1000);
  REQUIRE(capacity < keys * 105 / 1000);
  cache.clear();

  ExactLru lru(capacity);
  Zipf next(keys, exponent);
  std::size_t hits = 0, lru_hits = 0;
  for (std::size_t i = 0; i < requests; ++i) {
    const std::size_t number = next();
    lru_hits += lru.get_or_add(number) ? 1U : 0U;
    const std::string key = key_of(number);
    if (const auto value = cache.get(key)) {
      REQUIRE(*value == value_of(key));
      ++hits;
    } else {
      cache.set(key, value_of(key));
    }
  }
  CAPTURE(exponent, capacity, static_cast<double>(hits) / requests, static_cast<double>(lru_hits) / requests);
  CHECK(hits > lru_hits + requests / 100);
}

TEST_CASE("MemoryCache never returns what has expired") {
  MemoryCache cache(Clock::drives(options(mebibyte)));
  for (std::size_t i = 0; i < 1000; ++i) cache.set(key_of(i), "");  // or writes would free the key at once
  const auto set_and_wait = [&](std::chrono::nanoseconds wait) {
    cache.set("key", "value", 10ms);
    Clock::advance(wait);
  };
  set_and_wait(10ms - 1ns);
  CHECK(cache.get("key") == "value");
  CHECK(cache.contains("key"));
  CHECK_FALSE(cache.add("key", "other"));
  Clock::advance(1ns);
  CHECK(cache.get("key") == std::nullopt);
  CHECK_FALSE(cache.contains("key"));
  set_and_wait(10ms);
  CHECK_FALSE(cache.touch("key", 1h));
  CHECK(cache.get("key") == std::nullopt);
  set_and_wait(10ms);
  CHECK_FALSE(cache.erase("key"));
  set_and_wait(10ms);
  CHECK(cache.add("key", "other"));
  CHECK(cache.get("key") == "other");
}

TEST_CASE("MemoryCache counts time from the last set or touch") {
  MemoryCache cache(Clock::drives(options(mebibyte)));
  cache.set("touched", "value", 1s);
  cache.set("kept", "value", 1s);
  cache.set("replaced", "value", 1s);
  Clock::advance(999ms);
  CHECK(cache.touch("touched", 1s));
  CHECK(cache.touch("kept", {}));
  cache.set("replaced", "other");
  Clock::advance(999ms);
  CHECK(cache.get("touched") == "value");
  Clock::advance(1ms);
  CHECK(cache.get("touched") == std::nullopt);
  CHECK(cache.get("kept") == "value");
  CHECK(cache.get("replaced") == "other");
}

TEST_CASE("MemoryCache tells the time left, rounded up to a millisecond") {
  MemoryCache cache(Clock::drives(options(mebibyte)));
  const auto left = [&] {
    const auto entry = cache.get_entry("key");
    return entry ? entry->time_left : std::nullopt;
  };
  cache.set("key", "value");
  CHECK(left() == std::chrono::milliseconds::max());
  cache.set("key", "value", 10ms);
  CHECK(left() == 10ms);
  Clock::advance(1ns);
  CHECK(left() == 10ms);
  Clock::advance(9ms);
  CHECK(left() == 1ms);
  Clock::advance(1ms - 2ns);
  CHECK(left() == 1ms);
  Clock::advance(1ns);
  CHECK_FALSE(cache.get_entry("key"));
  cache.set("key", "value", std::chrono::hours::max());
  CHECK(left() == std::chrono::milliseconds::max());
}

TEST_CASE("MemoryCache takes an expiry that is longer than its clock can count for the longest") {
  MemoryCache cache(Clock::drives(options(mebibyte)));
  const auto longest = std::chrono::hours::max();
  const auto century = std::chrono::hours(24 * 365 * 100);
  cache.set("duration", "value", longest);
  cache.set("seconds", "value", std::numeric_limits<std::uint64_t>::max());
  cache.set("touched", "value", 1);
  cache.touch("touched", longest);
  cache.set("shorter", "value", century);
  Clock::advance(century);
  CHECK(cache.get("shorter") == std::nullopt);
  Clock::advance(century);
  CHECK(cache.get("duration") == "value");
  CHECK(cache.get("seconds") == "value");
  CHECK(cache.get("touched") == "value");

  Clock::time = Clock::TimePoint::max();
  cache.set("at the end of time", "value", 1);
  CHECK(cache.get("at the end of time") == "value");
  Clock::time = Clock::TimePoint::min();
  cache.set("before time", "value", longest);
  CHECK(cache.get("before time") == "value");
}

TEST_CASE("MemoryCache gives the room of expired entries to new ones") {
  MemoryCache cache(Clock::drives(options(mebibyte)));
  const auto set = [&](std::size_t first, std::size_t last, larder::Expiry expires) {
    for (std::size_t i = first; i < last; ++i) cache.set(key_of(i), value_of(key_of(i)), expires);
  };
  set(0, 20000, {});
  const std::size_t half = count_live(cache, 20000) / 2;
  REQUIRE(half > 1000);
  cache.clear();

  set(0, half, 1s);
  for (std::size_t i = 0; i < half; ++i) REQUIRE(cache.get(key_of(i)));  // or they would be the first to go anyway
  set(half, 2 * half, {});
  Clock::advance(1s);
  set(half, 2 * half, {});
  set(2 * half, 3 * half, {});
  CHECK(count_live(cache, 3 * half) == 2 * half);
}

TEST_CASE("MemoryCache: who waits for a reader to write leaves it the processor") {
  auto gated = options(mebibyte);
  gated.now = &Gate::now;
  MemoryCache cache(gated);
  cache.set("key", "value", 1h);
  StoppedReader stopped(cache);
  std::atomic<bool> has_written{false};
  std::chrono::nanoseconds used{};
  std::thread writer([&] {
    cache.set("key", "other");
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    used = std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    has_written = true;
  });
  std::this_thread::sleep_for(300ms);  // for which the writer has to wait
  const bool waited = !has_written;
  stopped.go_on();
  writer.join();
  CHECK((stopped.reached && waited));
  CHECK(cache.get("key") == "other");
  CHECK(used < 100ms);
}

TEST_CASE("MemoryCache reads side by side") {
  auto gated = options(mebibyte);
  gated.now = &Gate::now;
  MemoryCache cache(gated);
  cache.set("key", "value", 1h);
  StoppedReader stopped(cache);
  const auto value = cache.get("key");
  const bool live = cache.contains("key");
  stopped.go_on();
  CHECK(stopped.reached);
  CHECK(Gate::passed_in_time);
  CHECK(value == "value");
  CHECK(live);
}

#ifdef LARDER_TEST_ALLOCATIONS
TEST_CASE("MemoryCache stays whole whichever allocation fails") {
  const std::size_t keys = 200;  // more than a block of the table has buckets
  std::size_t failures = 0;
  for (std::size_t n = 0, done = 0; done < keys; ++n) {
    MemoryCache cache(options(mebibyte));
    allocations_left = n;
    try {
      for (done = 0; done < keys; ++done) {
        cache.set(key_of(done), value_of(key_of(done)));
        cache.get(key_of(done));
      }
    } catch (const std::bad_alloc&) {
      ++failures;
    }
    allocations_left.reset();
    REQUIRE(count_live(cache, done) == done);
    cache.set(key_of(done), "again");
    REQUIRE(cache.get(key_of(done)) == "again");
  }
  CHECK(failures > 3 * keys);
}

#endif

TEST_CASE("MemoryCache replaces a value in one step") {
  MemoryCache cache;
  const auto value = [](std::size_t n) { return std::string(n % 2 == 0 ? 40 : 4000, static_cast<char>('a' + n % 26)); };
  cache.set("key", value(0));
  std::atomic<std::size_t> missing{0}, torn{0}, writes{0};
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (std::size_t i = 0; !done; ++i) {
      cache.set("key", value(i));
      ++writes;
    }
  });
  const auto read = [&] {
    for (std::size_t i = 0; i < 50000 || writes < 1000; ++i) {
      const auto got = cache.get("key");
      if (!got) {
        ++missing;
      } else if (*got != std::string(got->size(), got->front()) ||
                 *got != value(static_cast<std::size_t>(got->front() - 'a'))) {
        ++torn;
      }
    }
  };
  std::thread reader(read);
  read();
  reader.join();
  done = true;
  writer.join();
  CHECK(missing == 0);
  CHECK(torn == 0);
}

TEST_CASE("MemoryCache lets one of many adds win") {
  MemoryCache cache;
  const std::size_t keys = 5000;
  std::array<std::vector<std::size_t>, 4> won;
  std::vector<std::thread> threads;
  for (auto& mine : won) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < keys; ++i) {
        if (cache.add(key_of(i), std::to_string(&mine - won.data()))) mine.push_back(i);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::size_t total = 0;
  for (auto& mine : won) {
    total += mine.size();
    for (const auto i : mine) REQUIRE(cache.get(key_of(i)) == std::to_string(&mine - won.data()));
  }
  CHECK(total == keys);
}

TEST_CASE("MemoryCache gives no wrong value to threads that do everything at once") {
  MemoryCache cache(Clock::drives(options(2 * mebibyte, 2)));
  std::atomic<std::size_t> hits{0}, wrong{0};
  const auto run = [&](std::size_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < 30000; ++i) {
      const std::string key = key_of(random() % 4000);
      switch (random() % 16) {
        case 0:
          cache.erase(key);
          break;
        case 1:
          cache.touch(key, std::chrono::milliseconds(random() % 100));
          break;
        case 2:
          cache.add(key, value_of(key, random() % 3000));
          break;
        case 3:
          cache.set(key, value_of(key, random() % 3000), std::chrono::milliseconds(random() % 100));
          break;
        case 4:
          cache.set(key, value_of(key, random() % 3000));
          break;
        case 5:
          if (random() % 1000 == 0) cache.clear();
          Clock::advance(1ms);
          break;
        default:
          if (const auto value = cache.get(key)) {
            ++hits;
            if (*value != value_of(key, value->size())) ++wrong;
          }
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 8; ++i) threads.emplace_back(run, i);
  for (auto& thread : threads) thread.join();
  CHECK(hits > 1000);
  CHECK(wrong == 0);
}

TEST_CASE("MemoryCache forgets everything at clear, and goes on") {
  MemoryCache cache(options(8 * mebibyte, 8));
  for (std::size_t i = 0; i < 10000; ++i) cache.set(key_of(i), value_of(key_of(i)));
  REQUIRE(count_live(cache, 10000) == 10000);
  cache.clear();
  CHECK(count_live(cache, 10000) == 0);
  for (std::size_t i = 0; i < 10000; ++i) cache.set(key_of(i), value_of(key_of(i)));
  CHECK(count_live(cache, 10000) == 10000);
}

#ifdef LARDER_TEST_HEAP

namespace {

std::size_t resident_bytes() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("MemoryCache takes no more of the heap than max_bytes, and most of it") {
  const std::size_t longest = GENERATE(std::size_t{1}, std::size_t{50}, std::size_t{5000}, std::size_t{300000});
  const std::size_t max_bytes = 16 * mebibyte;
  std::mt19937_64 random(longest);
  const std::string value = value_of("value", longest);
  const std::size_t before = heap_in_use;
  MemoryCache cache(options(max_bytes, 4));
  std::size_t most = 0;
  for (std::size_t bytes = 0; bytes < 8 * max_bytes; bytes += 100 + longest / 2) {
    const std::string key = key_of(random() % 1000000);
    cache.set(key, std::string_view(value).substr(random() % longest));
    most = std::max(most, heap_in_use - before);
  }
  CHECK(most <= max_bytes + max_bytes / 1000);  // a remainder too small to split off stays with a block
  CHECK(most > max_bytes / 10 * 9);
  cache.clear();
  CHECK(heap_in_use - before < max_bytes / 1000);
}

TEST_CASE("MemoryCache frees expired entries as writes go on") {
  MemoryCache cache(Clock::drives(options(64 * mebibyte, 8)));
  const std::size_t keys = 50000;
  const std::size_t empty = heap_in_use;
  for (std::size_t i = 0; i < keys; ++i) cache.set(key_of(i), value_of(key_of(i), 1000), 1s);
  const std::size_t full = heap_in_use;
  REQUIRE(full - empty > keys * 1000);
  Clock::advance(1s);
  for (std::size_t i = 0; i < keys; ++i) cache.set(key_of(i % 1000), "");
  CHECK(heap_in_use - empty < (full - empty) / 20);
}

TEST_CASE("MemoryCache of a million entries is resident in at most 1.15 times max_bytes") {
  const std::size_t keys = 1100000;
  const std::size_t max_bytes = 184 * 1000 * 1000;
  malloc_trim(0);
  const std::size_t before = resident_bytes();
  MemoryCache cache(options(max_bytes, 8));
  for (std::size_t i = 0; i < keys; ++i) cache.set(key_of(i), value_of(key_of(i)));
  const double ratio = static_cast<double>(resident_bytes() - before) / static_cast<double>(max_bytes);
  const std::size_t held = count_live(cache, keys);
  CAPTURE(ratio, held);
  CHECK(held > 980000);
  CHECK(held < keys);
  CHECK(ratio > 0.9);
  CHECK(ratio <= 1.15);
}

#endif
