// The right reply or none, whatever happens to the bytes on their way.

#include <cstdint>
#include <numeric>

#include "support/faults.hpp"
#include "support/wrong_reply.hpp"

using namespace larder::testing;
using larder::ConnectionError;
using larder::InvalidArgument;
using larder::RedisCache;
using larder::TimeoutError;

namespace {

larder::redis::Options one_connection(const Proxy& proxy, milliseconds command_timeout) {
  auto options = proxy.options();
  options.connections = 1;
  options.command_timeout = command_timeout;
  return options;
}

}  // namespace

TEST_CASE("after a timeout in the middle of a reply the next call is right") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  const std::size_t received = GENERATE(0U, 1U, 5U, 50U);
  RedisProcess redis;
  Proxy proxy(redis.address(), listen);
  wrong_reply::timeout_in_the_middle(redis, proxy, proxy.options(), received);
}

TEST_CASE("replies that come around the timeout never go to another caller") {
  RedisProcess redis;
  Proxy proxy(redis.address());
  wrong_reply::around_the_timeout(redis, proxy, proxy.options(), 500'000);
}

TEST_CASE("batches whose replies come around the timeout are right or fail") {
  RedisProcess redis;
  Proxy proxy(redis.address(), Proxy::on_tcp);
  wrong_reply::batches_around_the_timeout(redis, proxy, proxy.options(), 16'000);
}

TEST_CASE("a caller's timeout does no harm to the calls of others on its connection") {
  RedisProcess redis;
  fill(redis, 100);
  Proxy proxy(redis.address());
  const auto options = one_connection(proxy, 200ms);
  RedisCache cache(make_pool(options));
  proxy.delay(50ms);  // calls wait for their turn, and some of those who waited long run out of time
  Load load(
      32,
      [&](Tally& tally, std::size_t thread, std::size_t turn) {
        std::this_thread::sleep_for(milliseconds(thread * 7));
        tally.get(cache, key((thread + turn) % 100), whole_budget(options));
      },
      10);
  const Tally tally = load.join();
  check(tally);
  CHECK(tally.misses == 0);
  CHECK(tally.hits + tally.timeouts == tally.calls);
  CHECK(tally.hits > tally.calls / 10);  // how many depends on how busy the machine is
  figures().faults += proxy.faults();
}

TEST_CASE("stray bytes on an idle connection are nobody's reply") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  const std::string stray = GENERATE(as<std::string>(), bulk("stray"), "$100\r\nbegin", "garbage", "-ERR\r\n", "\r\n");
  RedisProcess redis;
  fill(redis, 2);
  Proxy proxy(redis.address(), listen);
  const auto options = one_connection(proxy, 500ms);
  RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  proxy.inject(stray);
  SECTION("get") {
    CHECK(within(whole_budget(options), [&] { return cache.get(key(1)); }) == value_of(key(1)));
  }
  SECTION("add") {
    CHECK(within(whole_budget(options), [&] { return cache.add("new", value_of("new")); }));
    CHECK(redis.ask({"GET", "new"}) == value_of("new"));
  }
  CHECK(proxy.accepted() == 2);
  figures().faults += proxy.faults();
}

TEST_CASE("replies that come twice are nobody's reply") {
  RedisProcess redis;
  fill(redis, 100);
  Proxy proxy(redis.address());
  const auto options = one_connection(proxy, 200ms);
  // A connection for each thread. On a shared one the second copy can come where the reply to another caller's command
  // is owed, and nothing in the protocol tells the one from the other.
  constexpr std::size_t threads = 8;
  std::vector<std::shared_ptr<larder::redis::Pool>> pools;
  std::vector<std::unique_ptr<RedisCache>> caches;
  for (std::size_t i = 0; i < threads; ++i) {
    pools.push_back(make_pool(options));
    caches.push_back(std::make_unique<RedisCache>(pools.back()));
  }
  const auto lost = [&] {
    return std::accumulate(pools.begin(), pools.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& pool) { return sum + pool->stats().lost; });
  };
  std::vector<std::atomic<std::size_t>> hits(threads);
  Load load(threads, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    if (tally.get(*caches[thread], key((thread * 13 + turn) % 100), whole_budget(options))) ++hits[thread];
  });
  // Such a peer is refused in the handshake. So that calls meet duplicates, too, they begin again and again on
  // connections that are in use.
  constexpr std::size_t rounds = 10;
  for (std::size_t round = 0; round < rounds; ++round) {
    proxy.duplicate(false);
    for (const auto& count : hits) CHECK(eventually([&, enough = count + 20] { return count >= enough; }));
    proxy.duplicate();
    CHECK(eventually([&, all = (round + 1) * threads] { return lost() >= all; }));
  }
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.misses == 0);
  CHECK(tally.garbled > 0);
  CHECK(proxy.faults() >= rounds * threads);
  proxy.duplicate(false);
  for (auto& cache : caches) {
    CHECK(eventually([&] {
      Tally one;
      return one.get(*cache, key(5), whole_budget(options));
    }));
  }
  figures().faults += proxy.faults();
}

TEST_CASE("a peer that answers twice is refused in the handshake, and attempts to connect are spaced") {
  RedisProcess redis;
  fill(redis, 1);
  Proxy proxy(redis.address());
  const auto pool = make_pool(one_connection(proxy, 200ms));
  RedisCache cache(pool);
  proxy.duplicate();
  const auto begin = Clock::now();
  std::size_t calls = 0;
  CHECK(eventually([&] {
    Tally tally;
    for (int i = 0; i < 100; ++i, ++calls) tally.get(cache, key(0), 700ms);
    check(tally);
    return pool->stats().connect_failures >= 5;
  }));
  CHECK(Clock::now() - begin > 400ms);  // 50 ms, and twice as long after each
  CHECK(proxy.accepted() < calls);
  figures().faults += proxy.faults();
}

TEST_CASE("a reply too many right behind the one that is owed is nobody's") {
  const std::string with_both = bulk(value_of("a")) + bulk(value_of("b"));
  ScriptedServer server({Script().greet().expect({"GET", "a"}).send(with_both).ignore(),
                         Script().greet().expect({"GET", "c"}).send(bulk(value_of("c")))});
  RedisCache cache(make_pool(server.options()));
  CHECK(cache.get("a") == value_of("a"));
  CHECK(cache.get("c") == value_of("c"));
  CHECK(server.problem() == "");
}

TEST_CASE("a borrowed context is marked after a failure, so that nobody reads another's reply from it") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  RedisProcess redis;
  fill(redis, 2);
  Proxy proxy(redis.address(), listen);
  const Context context = connect(proxy.address());
  redisSetTimeout(context.get(), {0, 100'000});
  RedisCache cache(context.get());
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  SECTION("timeout") {
    proxy.be_silent();
    failure_within<TimeoutError>(100ms, [&] { cache.get(key(0)); });
    proxy.be_silent(false);
  }
  SECTION("timeout in the middle of a reply") {
    proxy.cut_after(Proxy::down, 5, Proxy::End::silence);
    failure_within<TimeoutError>(100ms, [&] { cache.get(key(0)); });
    proxy.be_silent(false);
  }
  SECTION("reset") {
    proxy.cut_after(Proxy::down, 5, Proxy::End::reset);
    failure_within<ConnectionError>(100ms, [&] { cache.get(key(0)); });
  }
  SECTION("stray bytes while idle") {
    proxy.inject(bulk("stray"));
    failure_within<ConnectionError>(100ms, [&] { cache.get(key(1)); });
  }
  SECTION("a reply that is owed to the context's owner") {
    redisAppendCommand(context.get(), "GET %s", key(0).c_str());
    int written = 0;
    redisBufferWrite(context.get(), &written);
    pollfd reply{context->fd, POLLIN, 0};
    REQUIRE(::poll(&reply, 1, 10'000) == 1);
    failure_within<ConnectionError>(100ms, [&] { cache.get(key(1)); });
  }
  SECTION("a command that its owner has not sent yet") {
    redisAppendCommand(context.get(), "GET %s", key(0).c_str());
    failure_within<ConnectionError>(100ms, [&] { cache.get(key(1)); });
  }
  CHECK(context->err != 0);
  failure_within<ConnectionError>(100ms, [&] { cache.get(key(1)); });
  CHECK(redisCommand(context.get(), "GET %s", key(1).c_str()) == nullptr);

  REQUIRE(redisReconnect(context.get()) == REDIS_OK);
  CHECK(within(100ms, [&] { return cache.get(key(1)); }) == value_of(key(1)));
  figures().faults += proxy.faults();
}

TEST_CASE("a context with replies owed cannot be borrowed") {
  RedisProcess redis;
  const Context context = connect(redis.address());
  redisAppendCommand(context.get(), "PING");
  CHECK_THROWS_AS(RedisCache(context.get()), InvalidArgument);
}
