// A forked child opens connections of its own, and its parent's go on unharmed.

#include "support/child.hpp"
#include "support/faults.hpp"

using namespace larder::testing;
using larder::ConnectionError;
using larder::RedisCache;

namespace {

bool gets_are_right(larder::BaseCache& cache, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (cache.get(key(i % 100)) != value_of(key(i % 100))) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("fork with live connections: both sides go on") {
  const auto listen = GENERATE(RedisProcess::on_unix_socket, RedisProcess::on_both);
  RedisProcess redis({}, listen);
  fill(redis, 100);
  auto options = listen == RedisProcess::on_both ? redis.tcp_address().options() : redis.options();
  options.client_name = "larder-test";
  options.connections = 1;
  auto cache = std::make_unique<RedisCache>(make_pool(options));
  REQUIRE(gets_are_right(*cache, 100));
  const auto connections = redis.clients_with("name=larder-test");
  REQUIRE(connections.size() == 1);
  std::vector<Child> children;
  for (int i = 0; i < 8; ++i) {
    children.emplace_back([&] {
      const bool well = gets_are_right(*cache, 500);
      cache.reset();
      return well;
    });
  }
  CHECK(gets_are_right(*cache, 2000));
  for (const auto& child : children) CHECK(child.was_well());
  CHECK(gets_are_right(*cache, 100));
  CHECK(eventually([&] { return redis.clients_with("name=larder-test").size() == 1; }));
  CHECK(redis.clients_with("name=larder-test") == connections);
  figures().calls += 2200 + 8 * 500;
  figures().faults += 8;
}

TEST_CASE("a child that destroys the cache at once, or does nothing with it, harms nobody") {
  RedisProcess redis;
  fill(redis, 100);
  auto options = redis.options();
  options.client_name = "larder-test";
  auto cache = std::make_unique<RedisCache>(make_pool(options));
  REQUIRE(gets_are_right(*cache, 100));
  const auto connections = redis.clients_with("name=larder-test");
  for (const bool destroy : {true, false}) {
    const Child child([&] {
      if (destroy) cache.reset();
      return true;
    });
    CHECK(child.was_well());
    CHECK(gets_are_right(*cache, 100));
  }
  CHECK(redis.clients_with("name=larder-test") == connections);
  figures().faults += 2;
}

TEST_CASE("fork while other threads are in the middle of calls") {
  if (sanitized) SKIP("a sanitizer's allocator may be locked at fork(), and stays so in the child");
  RedisProcess redis;
  fill(redis, 100);
  RedisCache cache(make_pool(redis.options()));
  Load load(8, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    tally.get(cache, key((thread * 13 + turn) % 100), whole_budget(redis.options()));
  });
  const std::size_t forks = scaled(40);
  for (std::size_t i = 0; i < forks; ++i) {
    const Child child([&] { return gets_are_right(cache, 50) && cache.add("from child", "x") == (i == 0); });
    CHECK(child.was_well());
  }
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.hits == tally.calls);
  CHECK(tally.calls > 100);
  figures().faults += forks;
}

TEST_CASE("a child's child") {
  RedisProcess redis;
  fill(redis, 100);
  RedisCache cache(make_pool(redis.options()));
  REQUIRE(gets_are_right(cache, 100));
  const Child child([&] {
    if (!gets_are_right(cache, 100)) return false;
    const Child grandchild([&] { return gets_are_right(cache, 100); });
    return gets_are_right(cache, 100) && grandchild.was_well();
  });
  CHECK(gets_are_right(cache, 100));
  CHECK(child.was_well());
  figures().faults += 2;
}

TEST_CASE("a borrowed context stays its process' own") {
  RedisProcess redis;
  fill(redis, 100);
  const Context context = connect(redis.address());
  RedisCache cache(context.get());
  REQUIRE(gets_are_right(cache, 100));
  const Child child([&] {
    try {
      cache.get(key(1));
      return false;
    } catch (const ConnectionError&) {
      return context->err == 0;
    }
  });
  CHECK(gets_are_right(cache, 1000));
  CHECK(child.was_well());
  CHECK(gets_are_right(cache, 100));
  figures().faults += 1;
}
