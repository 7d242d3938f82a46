// Memory runs out at every point of a call in turn: the call fails or is right, nothing leaks, and the next one is
// right.

#include <cerrno>
#include <cstdlib>

#include "support/away_cache.hpp"
#include "support/faults.hpp"

using namespace larder::testing;
using larder::RedisCache;

namespace {

// What fails, from the n-th allocation on that a thread makes after arm().
enum class Fail {
  one,
  all,
  one_of_c,  // of malloc() too: hiredis', once it is connected, for while it connects some versions abort() then
};

thread_local std::size_t until_failure = 0;
thread_local Fail what = Fail::one;
thread_local bool has_failed = false;
std::atomic<long> live{0};

void arm(std::size_t nth, Fail which) {
  has_failed = false;
  what = which;
  until_failure = nth;
}

bool disarm() {
  until_failure = 0;
  return has_failed;
}

bool must_fail(bool in_c) {
  if (until_failure == 0 || in_c != (what == Fail::one_of_c)) return false;
  if (until_failure > 1) {
    --until_failure;
    return false;
  }
  if (what != Fail::all) until_failure = 0;
  return has_failed = true;
}

}  // namespace

#if defined(__GLIBC__) && !LARDER_ASAN && !LARDER_TSAN  // sanitizers have their own malloc()
constexpr bool has_c = true;

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void __libc_free(void* memory);

static void* counted(void* memory) {
  if (memory) ++live;
  return memory;
}
static void* out_of_memory() {
  errno = ENOMEM;
  return nullptr;
}

void* malloc(std::size_t size) { return must_fail(true) ? out_of_memory() : counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) {
  return must_fail(true) ? out_of_memory() : counted(__libc_calloc(count, size));
}
void* realloc(void* memory, std::size_t size) {
  if (!memory) return malloc(size);
  return must_fail(true) ? out_of_memory() : __libc_realloc(memory, size);
}
void free(void* memory) {
  if (memory) --live;
  __libc_free(memory);
}
}
#else
constexpr bool has_c = false;
#endif

void* operator new(std::size_t size) {
  void* const memory = must_fail(false) ? nullptr : std::malloc(size ? size : 1);
  if (!memory) throw std::bad_alloc();
  if (!has_c) ++live;
  return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept { return operator new(size, tag); }
void operator delete(void* memory) noexcept {
  if (!has_c && memory) --live;
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { operator delete(memory); }

namespace {

const std::vector<std::string> some_keys = [] {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < 40; ++i) keys.push_back(key(i));
  return keys;
}();

const std::vector<std::pair<std::string, std::string>> some_items = [] {
  std::vector<std::pair<std::string, std::string>> items;
  for (const auto& name : some_keys) items.emplace_back(name, value_of(name));
  return items;
}();

const std::string long_value = value_of("long", 300'000);
const std::string long_key(20'000, 'k');

/// A cache, and another over the same connections whose keys do not matter.
struct Caches {
  template <class Source>
  explicit Caches(const Source& source, bool connect = false) : pool(std::make_shared<larder::redis::Pool>(source)) {
    if (connect) cache.get(key(2));
  }

  std::shared_ptr<larder::redis::Pool> pool;
  RedisCache cache{pool}, scratch{pool, "scratch:"};
};

struct Operation {
  const char* name;
  bool (*is_right)(Caches&);
};

const Operation operations[] = {
    {"get", [](Caches& c) { return c.cache.get(key(1)) == value_of(key(1)); }},
    {"a miss", [](Caches& c) { return !c.cache.get("a key that is not there, and that is not short"); }},
    {"get of a long value", [](Caches& c) { return c.cache.get("long") == long_value; }},
    {"set", [](Caches& c) { return c.cache.set(key(1), value_of(key(1)), 100), true; }},
    {"set of a long value", [](Caches& c) { return c.cache.set("long", long_value), true; }},
    {"set with a long key", [](Caches& c) { return c.scratch.set(long_key, "value"), true; }},
    {"add", [](Caches& c) { return !c.cache.add(key(1), "another"); }},
    {"touch", [](Caches& c) { return c.cache.touch(key(1), 100); }},
    {"touch forever", [](Caches& c) { return c.cache.touch(key(1), std::nullopt); }},
    {"contains", [](Caches& c) { return c.cache.contains(key(1)); }},
    {"erase", [](Caches& c) { return !c.cache.erase("not there"); }},
    {"get_many",
     [](Caches& c) {
       const auto values = c.cache.get_many(some_keys);
       for (std::size_t i = 0; i < some_keys.size(); ++i) {
         if (values[i] != some_items[i].second) return false;
       }
       return true;
     }},
    {"set_many", [](Caches& c) { return c.cache.set_many(some_items, 100), true; }},
    {"erase_many",
     [](Caches& c) {
       return c.cache.erase_many({"not there", "nor this one, which is longer"}) == 0;
     }},
    {"clear", [](Caches& c) { return c.scratch.clear(), true; }},
};

void fill_all(const RedisProcess& redis) {
  fill(redis, 40);
  redis.ask({"SET", "long", long_value});
}

/// Has an operation fail at its first, second, … allocation until there are no more; how many there were. `begin` makes
/// what is destroyed by its destructor after each.
template <class Begin>
std::size_t fail_at_every_point(const RedisProcess& redis, const Operation& operation, Fail which, Begin begin) {
  for (std::size_t nth = 1;; ++nth) {
    if (operation.name == std::string("clear")) fill(redis, 20, "scratch:");
    bool was_right = true, failed = false;
    std::string strange;
    Tally next;
    const long before = live;
    {
      auto state = begin();
      arm(nth, which);
      try {
        was_right = operation.is_right(state.caches);
      } catch (const std::bad_alloc&) {
      } catch (const larder::Error&) {
      } catch (...) {
        was_right = false;
      }
      failed = disarm();
      state.recover();
      next.get(state.caches.cache, key(7), 2s);
    }
    const long leaked = live - before;
    INFO(operation.name << ", allocation " << nth << ", kind " << static_cast<int>(which));
    CHECK(was_right);
    CHECK(next.hits == 1);
    check(next);
    CHECK(leaked == 0);
    if (!failed) return nth - 1;
    ++figures().faults;
  }
}

}  // namespace

TEST_CASE("memory runs out at every point of every call of a pool") {
  const Fail which = GENERATE(Fail::one, Fail::all, Fail::one_of_c);
  const bool is_connected = which == Fail::one_of_c || GENERATE(false, true);
  if (which == Fail::one_of_c && !has_c) SKIP("malloc() is not this program's own");
  RedisProcess redis;
  fill_all(redis);
  struct State {
    Caches caches;
    void recover() {}
  };
  const auto begin = [&] { return State{Caches(redis.options(), is_connected)}; };
  for (const auto& operation : operations) {
    const std::size_t points = fail_at_every_point(redis, operation, which, begin);
    INFO(operation.name);
    if (!is_connected) CHECK(points > 5);
    if (operation.name == std::string("get_many")) CHECK(points > 40);
  }
}

TEST_CASE("memory runs out at every point of connecting over TCP") {
  const Fail which = GENERATE(Fail::one, Fail::all);
  RedisProcess redis({}, RedisProcess::on_both);
  fill_all(redis);
  struct State {
    Caches caches;
    void recover() {}
  };
  CHECK(fail_at_every_point(redis, operations[0], which, [&] { return State{Caches(redis.tcp_address().options())}; }) >
        5);
}

TEST_CASE("memory runs out at every point of every call over a borrowed context") {
  const Fail which = GENERATE(Fail::one, Fail::all, Fail::one_of_c);
  if (which == Fail::one_of_c && !has_c) SKIP("malloc() is not this program's own");
  RedisProcess redis;
  fill_all(redis);
  struct State {
    Context context;
    Caches caches{context.get()};
    void recover() {
      if (context->err != 0) redisReconnect(context.get());
    }
  };
  for (const auto& operation : operations) {
    fail_at_every_point(redis, operation, which, [&] { return State{connect(redis.address())}; });
  }
}

TEST_CASE("memory that runs out in one thread does no harm to the calls of others") {
  RedisProcess redis;
  fill_all(redis);
  auto options = redis.options();
  options.connections = 1;
  Caches caches(options);
  constexpr std::size_t threads = 4;
  std::atomic<std::size_t> faults{0};
  Load load(threads, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    const std::string name = key((thread + turn) % 40);
    std::optional<std::string> value;
    bool failed = false;
    const bool answered = tally.call(whole_budget(options), [&] {
      struct Disarmed {
        bool& failed;
        ~Disarmed() { failed = disarm(); }
      } const at_the_end{failed};
      if (thread == 0) arm(1 + turn % 7, turn % 2 == 0 ? Fail::all : Fail::one);
      value = caches.cache.get(name);
    });
    if (answered) tally.look_at(name, value);
    if (failed) ++faults;
  });
  CHECK(eventually([&] { return faults >= scaled(2000); }));
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.errors() == 0);
  CHECK(tally.misses == 0);
  CHECK(tally.no_memory > 0);
  CHECK(tally.no_memory <= threads * faults);  // it costs the replies that it was to hold, and nothing else
  figures().faults += faults;
}

namespace {

/// What a load that ran out of memory must leave: changes and loads of the key are as if it had not been.
void check_nothing_is_left(larder::BaseCache& cache) {
  within(std::chrono::seconds(5), [&] {
    std::thread([&] { cache.set("key", "new"); }).join();
    CHECK(cache.get("key") == "new");
    cache.erase("key");
    CHECK(cache.get_or_load("key", 60, [] { return "newest"; }) == "newest");
    CHECK(cache.get("key") == "newest");
  });
}

}  // namespace

TEST_CASE("memory runs out at every point of a load, and nothing of it is left") {
  const Fail which = GENERATE(Fail::one, Fail::all);
  const bool many = GENERATE(false, true);
  std::size_t nth = 0;
  for (bool failed = true; failed;) {
    larder::MemoryCache cache;
    arm(++nth, which);
    try {
      if (many) {
        cache.get_many_or_load({"key", "other"}, 60, [](const std::vector<std::string>&) {
          return std::vector<std::pair<std::string, std::string>>{{"key", "old"}, {"other", "value"}};
        });
      } else {
        cache.get_or_load("key", 60, [] { return "old"; });
      }
    } catch (const std::bad_alloc&) {
    }
    failed = disarm();
    CAPTURE(nth, many);
    check_nothing_is_left(cache);
  }
  CHECK(nth > 5);
}

TEST_CASE("memory runs out at every point of a change during a load, and no old value is stored after it") {
  const Fail which = GENERATE(Fail::one, Fail::all);
  std::size_t nth = 0;
  for (bool failed = true; failed;) {
    larder::MemoryCache cache;
    ++nth;
    bool changed = false;
    cache.get_or_load("key", 60, [&] {
      try {
        arm(nth, which);
        cache.set("key", "changed");
        changed = true;
      } catch (const std::bad_alloc&) {
      }
      failed = disarm();
      return "old";
    });
    CAPTURE(nth);
    if (changed) {
      CHECK(cache.get("key") == "changed");
    } else if (!cache.get("key")) {  // the load met a change, and is over
      CHECK(cache.get_or_load("key", 60, [] { return "next"; }) == "next");
    }
    check_nothing_is_left(cache);
  }
  CHECK(nth > 2);
}

TEST_CASE("memory runs out at every point of a change that does not reach the cache, and what is old stays hidden") {
  const Fail which = GENERATE(Fail::one, Fail::all);
  std::size_t nth = 0;
  for (bool failed = true; failed;) {
    larder::MemoryCache inner;
    inner.set("key", "old");
    AwayCache away(inner);
    larder::FailOpenCache cache(away);
    away.be_away();
    arm(++nth, which);
    try {
      cache.set("key", "new");
    } catch (const std::bad_alloc&) {
    }
    failed = disarm();
    away.be_back();
    CAPTURE(nth);
    if (away.writes != 0) CHECK_FALSE(cache.get("key"));
  }
  CHECK(nth > 2);
}
