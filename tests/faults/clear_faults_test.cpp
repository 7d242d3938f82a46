// clear() that is interrupted, and two at once.

#include <future>

#include "support/answering_server.hpp"
#include "support/child.hpp"
#include "support/faults.hpp"

using namespace larder::testing;
using larder::ConnectionError;
using larder::RedisCache;

namespace {

constexpr std::size_t ours = 20'000, theirs = 3'000;

std::size_t keys_in(const RedisProcess& redis) { return std::stoul(redis.ask({"DBSIZE"})); }

void fill_both(const RedisProcess& redis) {
  fill(redis, ours, "ours*:");
  fill(redis, theirs, "ours:");  // matched by ours*: where the star is not escaped
}

bool theirs_are_whole(const larder::redis::Options& options) {
  RedisCache cache(make_pool(options), "ours:");
  for (std::size_t i = 0; i < theirs; i += 100) {
    std::vector<std::string> keys;
    for (std::size_t j = i; j < i + 100; ++j) keys.push_back(key(j));
    const auto values = cache.get_many(keys);
    for (std::size_t j = 0; j < keys.size(); ++j) {
      if (values[j] != value_of("ours:" + keys[j])) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("clear() whose connection is lost half way goes on over another") {
  RedisProcess redis;
  fill_both(redis);
  Proxy proxy(redis.address());
  const auto direction = GENERATE(Proxy::up, Proxy::down);
  RedisCache cache(make_pool(proxy.options()), "ours*:");
  proxy.cut_after(direction, direction == Proxy::up ? 100'000 : 100'001, Proxy::End::reset);
  cache.clear();
  CHECK(proxy.accepted() == 2);
  CHECK(keys_in(redis) == theirs);
  CHECK(theirs_are_whole(redis.options()));
  figures().faults += proxy.faults();
  ++figures().calls;
}

TEST_CASE("clear() is complete although a replica takes over half way") {
  RedisProcess primary({}, RedisProcess::on_both), replica;
  fill_both(primary);
  const std::string port = std::to_string(primary.tcp_address().port);
  replica.ask({"REPLICAOF", "127.0.0.1", port});
  REQUIRE(eventually([&] {
    return replica.ask({"INFO", "replication"}).find("master_link_status:up") != std::string::npos &&
           keys_in(replica) == ours + theirs;
  }));
  Proxy proxy(primary.address());
  proxy.delay(5ms);
  RedisCache cache(make_pool(proxy.options()), "ours*:");
  auto clearing = std::async(std::launch::async, [&] { cache.clear(); });
  CHECK(eventually([&] { return keys_in(replica) < theirs + ours / 2; }));
  replica.ask({"REPLICAOF", "NO", "ONE"});
  const std::size_t left = keys_in(replica);
  proxy.move_to(replica.address());
  clearing.get();
  CHECK(left > theirs);
  CHECK(keys_in(replica) == theirs);
  CHECK(theirs_are_whole(replica.options()));
  figures().faults += proxy.faults();
  ++figures().calls;
}

TEST_CASE("clear() that fails half way can be called again") {
  RedisProcess redis;
  fill_both(redis);
  Proxy proxy(redis.address());
  RedisCache cache(make_pool(proxy.options()), "ours*:");
  const auto budget = whole_budget(proxy.options());
  SECTION("the server is gone") {
    cache.get("a");
    proxy.refuse();
    proxy.cut_after(Proxy::up, 100'000, Proxy::End::reset);
    failure_within<ConnectionError>(5 * budget, [&] { cache.clear(); });
    CHECK(keys_in(redis) > theirs);
    CHECK(keys_in(redis) < theirs + ours);
    proxy.refuse(false);
  }
  SECTION("the server says nothing") {
    proxy.cut_after(Proxy::down, 100'000, Proxy::End::silence);
    failure_within<larder::TimeoutError>(5 * budget, [&] { cache.clear(); });
    CHECK(keys_in(redis) > theirs);
    CHECK(keys_in(redis) < theirs + ours);
    proxy.be_silent(false);
  }
  CHECK(eventually([&] {
    Tally tally;
    return tally.call(5 * budget, [&] { cache.clear(); });
  }));
  CHECK(keys_in(redis) == theirs);
  CHECK(theirs_are_whole(redis.options()));
  figures().faults += proxy.faults();
}

TEST_CASE("clear() ends where the cursor of SCAN goes round in a circle") {
  const std::size_t circle = GENERATE(1U, 2U, 3U, 1000U), before = GENERATE(0U, 100U);
  std::size_t scans = 0;
  AnsweringServer server([&](const larder::testing::Words& words) -> std::optional<std::string> {
    if (words.front() != "SCAN") return AnsweringServer::usual(words);
    const std::size_t step = scans++;
    const std::size_t cursor = step < before ? step + 1 : before + 1 + (step - before) % circle;
    return "*2\r\n" + bulk(std::to_string(cursor)) + "*0\r\n";
  });
  RedisCache cache("redis://" + server.address(), "ours:");
  CHECK_THROWS_AS(cache.clear(), larder::ProtocolError);
  CHECK(scans < 3 * (before + circle) + 10);
  ++figures().faults;
}

TEST_CASE("clear() from two processes at once, next to a writer") {
  RedisProcess redis;
  fill_both(redis);
  RedisCache cache(make_pool(redis.options()), "ours*:");
  const auto clear = [&] {
    cache.clear();
    return true;
  };
  const Child children[] = {Child(clear), Child(clear)};
  RedisCache writer(make_pool(redis.options()), "ours:");
  Load load(2, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    const std::string name = key((thread * 13 + turn) % theirs);
    tally.call(whole_budget(redis.options()), [&] { writer.set(name, value_of("ours:" + name)); });
  });
  for (const auto& child : children) CHECK(child.was_well());
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.errors() == 0);
  CHECK(tally.calls > 0);
  CHECK(keys_in(redis) == theirs);
  CHECK(theirs_are_whole(redis.options()));
  figures().faults += 2;
}
