// Real sentinels, whose primary changes while it is used, and scripted ones. Every value names its key and version.

#include <larder/redis/sentinel.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/answering_server.hpp"
#include "support/catch.hpp"
#include "support/faults.hpp"
#include "support/redis_sentinel.hpp"
#include "support/testing.hpp"
#include "support/versioned_load.hpp"

using larder::RedisCache;
using larder::redis::Command;
using larder::redis::Key;
using larder::redis::Sentinel;
using larder::testing::AnsweringServer;
using larder::testing::bulk;
using larder::testing::Clock;
using larder::testing::message_of;
using larder::testing::RedisSentinels;
using larder::testing::VersionedLoad;
using larder::testing::Words;
using namespace std::chrono_literals;
using Bytes = std::optional<std::string>;

namespace {

constexpr std::size_t threads = 8;
constexpr std::size_t rewritten = 8 * VersionedLoad::keys;  // turns after which each key was set anew
constexpr auto sooner = larder::testing::slack / 4;
const char* const short_times = "command_timeout=250ms&connect_timeout=250ms";

long long milliseconds_of(Clock::duration time) {
  return std::chrono::duration_cast<larder::testing::milliseconds>(time).count();
}

/// Until a sentinel names another primary than this port; returns when it did.
Clock::time_point await_switch(RedisSentinels& redis, int old_port, std::size_t sentinel = 0) {
  const bool switched = larder::testing::eventually([&] {
    const int named = redis.named_by(sentinel);
    return named != 0 && named != old_port;
  });
  REQUIRE(switched);
  return Clock::now();
}

std::string primary_at(int port) { return "*2\r\n" + bulk("127.0.0.1") + bulk(std::to_string(port)); }

Bytes serve(const Words& words) {
  if (words.front() == "GET") return bulk(larder::testing::value_of(words[1]));
  if (words.front() == "SET") return "+OK\r\n";
  return AnsweringServer::usual(words);
}

Bytes serve_as_replica(const Words& words) {
  if (words.front() == "HELLO") return "*4\r\n" + bulk("role") + bulk("replica") + bulk("mode") + bulk("standalone");
  return serve(words);
}

/// A sentinel that names a port; 0: it knows none.
AnsweringServer::Answer names(const std::atomic<int>& port) {
  return [&port](const Words& words) -> Bytes {
    if (words.front() != "SENTINEL") return AnsweringServer::usual(words);
    return port == 0 ? "*-1\r\n" : primary_at(port);
  };
}

std::shared_ptr<Sentinel> client_of(std::vector<std::string> sentinels) {
  Sentinel::Options options;
  options.primary.connect_timeout = 300ms;
  options.primary.command_timeout = 700ms;
  options.sentinel_check = 100ms;
  return std::make_shared<Sentinel>(std::move(sentinels), "main", options);
}
constexpr auto budget = 1000ms;

}  // namespace

TEST_CASE("the primary dies, and calls succeed as soon as the sentinels name another one") {
  const bool freezes = GENERATE(false, true);
  RedisSentinels redis(2, 3);
  RedisCache cache(redis.url(short_times));
  VersionedLoad load(cache, threads);
  CHECK(load.take().errors == 0);
  if (freezes) {
    redis.node(0).freeze();
  } else {
    redis.node(0).kill();
  }
  const auto switched = await_switch(redis, redis.port(0));
  REQUIRE(load.await_success());
  load.await_turns(rewritten);
  const auto seen = load.take();
  const auto late = milliseconds_of(seen.first_success_after_error - switched);
  std::printf("Sentinel, %s: %s; first success %lld ms after the switch\n", freezes ? "SIGSTOP" : "kill -9",
              seen.text().c_str(), late);
  INFO(seen.text());
  CHECK(seen.errors != 0);
  CHECK(seen.wrong == 0);
  CHECK(late < 150 + larder::testing::slack.count());
  CHECK(seen.longest < 500ms + larder::testing::slack);
  if (!freezes) return;

  redis.node(0).thaw();  // it takes itself for the primary, for some seconds
  std::this_thread::sleep_for(500ms);
  const long before = redis.node(0).calls_of("get");  // with those that were sent before it froze
  std::this_thread::sleep_for(1500ms);
  CHECK(redis.is_primary(0));
  CHECK(redis.node(0).calls_of("get") == before);
  const auto then = load.finish();
  INFO(then.text());
  CHECK(then.errors + then.wrong + then.stale + then.lost == 0);
}

TEST_CASE("the next primary dies, too") {
  RedisSentinels redis(2, 3);
  RedisCache cache(redis.url(short_times));
  VersionedLoad load(cache, threads);
  redis.node(0).kill();
  await_switch(redis, redis.port(0));
  REQUIRE(load.await_success());
  const int second = redis.named_by(0);
  const std::size_t spare = redis.port(1) == second ? 2 : 1;
  REQUIRE(larder::testing::eventually([&] {
    const std::string state = redis.node(3 - spare).ask({"INFO", "replication"});
    return state.find("port=" + std::to_string(redis.port(spare)) + ",state=online") != std::string::npos;
  }));
  load.await_turns(rewritten);
  CHECK(load.take().wrong == 0);
  redis.node(3 - spare).kill();
  const auto switched = await_switch(redis, second);
  REQUIRE(load.await_success());
  load.await_turns(rewritten);
  const auto seen = load.finish();
  INFO(seen.text());
  CHECK(seen.wrong == 0);
  CHECK(milliseconds_of(seen.first_success_after_error - switched) < 150 + larder::testing::slack.count());
  CHECK(redis.named_by(0) == redis.port(spare));
}

TEST_CASE("after a planned failover nobody stays on the old primary") {
  RedisSentinels redis(2, 3);
  RedisCache cache(redis.url("connections=2"));
  VersionedLoad load(cache, threads);
  redis.fail_over();
  const auto switched = await_switch(redis, redis.port(0));
  long before = redis.node(0).calls_of("get");
  auto last_call = switched;
  while (Clock::now() < switched + 3s) {
    std::this_thread::sleep_for(5ms);
    const long now = redis.node(0).calls_of("get");
    if (std::exchange(before, now) != now) last_call = Clock::now();
  }
  const auto seen = load.finish();
  std::printf("Sentinel, planned: %s; last call on the old primary %lld ms after the switch\n", seen.text().c_str(),
              milliseconds_of(last_call - switched));
  INFO(seen.text());
  CHECK(redis.is_primary(0));  // it has not been told yet
  CHECK(last_call - switched < 1s + larder::testing::slack);
  CHECK(seen.errors == 0);
  CHECK(seen.wrong == 0);
}

TEST_CASE("sentinels that are gone do not matter while the primary serves") {
  RedisSentinels redis(1, 3);
  RedisCache cache(redis.url());
  cache.set("key", "value");
  redis.sentinel(0).kill();
  larder::testing::Load load(4, [&](larder::testing::Tally& tally, std::size_t, std::size_t) {
    tally.call(1500ms, [&] {
      if (cache.get("key") != "value") throw std::runtime_error("a wrong value");
    });
  });
  std::this_thread::sleep_for(1200ms);
  redis.sentinel(1).kill();
  redis.sentinel(2).freeze();
  std::this_thread::sleep_for(2500ms);
  const auto tally = load.finish();
  redis.sentinel(2).thaw();
  CHECK(tally.errors() == 0);
  CHECK(tally.strange == 0);
  CHECK(tally.calls > 1000);
  RedisCache fresh("redis+sentinel://127.0.0.1:" + std::to_string(redis.sentinel_port(2)) + "," +
                   "127.0.0.1:" + std::to_string(redis.sentinel_port(0)) + "/main");
  CHECK(fresh.get("key") == "value");
}

TEST_CASE("sentinels that were all gone are asked when they are back") {
  RedisSentinels redis(1, 3);
  RedisCache cache(redis.url(short_times));
  VersionedLoad load(cache, 4);
  for (std::size_t i = 0; i < redis.sentinels(); ++i) redis.sentinel(i).kill();
  std::this_thread::sleep_for(1500ms);
  const auto without = load.take();
  INFO(without.text());
  CHECK(without.errors + without.wrong + without.stale + without.lost == 0);
  redis.node(0).kill();
  REQUIRE(larder::testing::eventually([&] { return load.take().errors != 0; }));
  for (std::size_t i = 0; i < redis.sentinels(); ++i) redis.sentinel(i).start();
  const auto switched = await_switch(redis, redis.port(0));
  REQUIRE(load.await_success());
  const auto seen = load.finish();
  INFO(seen.text());
  CHECK(seen.wrong == 0);
  CHECK(milliseconds_of(seen.first_success_after_error - switched) < 150 + larder::testing::slack.count());
}

TEST_CASE("sentinels that name the primary by a host name, or an IPv6 address") {
  RedisSentinels::Settings settings;
  settings.host = GENERATE("localhost", "::1");
  if (settings.host == "::1" && !larder::testing::has_ipv6()) SKIP("there is no IPv6");
  RedisSentinels redis(1, 1, settings);
  CHECK(redis.primary_of(0) == std::pair(settings.host, redis.port(0)));
  RedisCache cache(redis.url("sentinel_check=100ms"));
  VersionedLoad load(cache, 4);
  redis.fail_over();
  await_switch(redis, redis.port(0));
  CHECK(redis.primary_of(0) == std::pair(settings.host, redis.port(1)));
  REQUIRE(larder::testing::eventually([&] { return redis.node(1).calls_of("get") > 100; }));
  const auto seen = load.finish();
  INFO(seen.text());
  CHECK(seen.errors + seen.wrong == 0);
}

TEST_CASE("a sentinel that dies together with the primary is replaced by another one") {
  RedisSentinels redis(1, 3);
  RedisCache cache(redis.url(short_times));
  cache.set("key", "value");
  REQUIRE(larder::testing::eventually([&] { return redis.node(1).ask({"GET", "key"}) == "value"; }));
  redis.sentinel(0).kill();
  redis.node(0).kill();
  await_switch(redis, redis.port(0), 1);
  const bool serves = larder::testing::eventually(
      [&] {
        try {
          return cache.get("key") == "value";
        } catch (const larder::ConnectionError&) {
          return false;
        }
      },
      5s);
  CHECK(serves);
}

TEST_CASE("passwords of the primary and of the sentinels") {
  RedisSentinels::Settings settings;
  settings.password = "s3cr3t";
  settings.sentinel_password = "s3cr3t-too";
  RedisSentinels redis(1, 2, settings);
  RedisCache cache(redis.url("sentinel_password=s3cr3t-too", ":s3cr3t@"));
  cache.set("key", "value");
  CHECK(cache.get("key") == "value");
  RedisCache without(redis.url({}, ":s3cr3t@"));
  const std::string refused = message_of<larder::ConnectionError>([&] { without.get("key"); });
  CHECK_THAT(refused, Catch::Matchers::ContainsSubstring("NOAUTH"));
  RedisCache wrong(redis.url("sentinel_password=s3cr3t-t00", ":s3cr3t@"));
  CHECK_THAT(message_of<larder::ConnectionError>([&] { wrong.get("key"); }),
             Catch::Matchers::ContainsSubstring("AUTH"));
}

TEST_CASE("a name that no sentinel knows is said") {
  const std::atomic<int> none{0};
  AnsweringServer one(names(none)), other(names(none));
  RedisCache cache(client_of({one.address(), other.address()}));
  std::string message;
  larder::testing::within(20ms, [&] { message = message_of<larder::ConnectionError>([&] { cache.get("key"); }); });
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring("main"));
  CHECK(one.count("SENTINEL") == 1);
  CHECK(other.count("SENTINEL") == 1);
}

TEST_CASE("who takes a sentinel for a server of data, or the other way round, is told") {
  RedisSentinels redis(0, 1);
  const std::string sentinel = "redis://127.0.0.1:" + std::to_string(redis.sentinel_port(0));
  const auto says_sentinel = Catch::Matchers::ContainsSubstring("redis+sentinel://host:port/name");
  RedisCache cache(sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { cache.get("key"); }), says_sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { cache.set("key", "value"); }), says_sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { cache.get_many({"key", "other"}); }), says_sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { cache.set_many({{"key", "value"}}); }), says_sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { cache.erase("key"); }), says_sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { cache.touch("key", 1); }), says_sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { cache.clear(); }), says_sentinel);
  CHECK_THAT(message_of<larder::ServerError>([&] { RedisCache(sentinel + "/1").get("key"); }), says_sentinel);
  CHECK_THAT(message_of<larder::ConnectionError>([&] { RedisCache(sentinel + "?primary_only=true").get("key"); }),
             says_sentinel);

  RedisCache of_data("redis+sentinel://127.0.0.1:" + std::to_string(redis.port(0)) + "/main");
  CHECK_THAT(message_of<larder::ConnectionError>([&] { of_data.get("key"); }),
             Catch::Matchers::ContainsSubstring("the URL of a single server is redis://"));
}

TEST_CASE("options of the primary are not asked of the sentinels") {
  RedisSentinels redis(0, 1);
  RedisCache cache(redis.url("primary_only=true&client_name=larder"));
  cache.set("key", "value");
  CHECK(cache.get("key") == "value");
}

TEST_CASE("a server that a sentinel names is not believed before it says that it is the primary") {
  AnsweringServer good(serve), replica(serve_as_replica);
  std::atomic<int> liar_names{good.port()}, names_good{good.port()};
  AnsweringServer liar(names(liar_names)), honest(names(names_good));
  SECTION("at first") {
    liar_names = replica.port();
    RedisCache cache(client_of({liar.address(), honest.address()}));
    CHECK(cache.get("key") == larder::testing::value_of("key"));
    CHECK(replica.count("GET") == 0);
  }
  SECTION("later") {
    RedisCache cache(client_of({liar.address(), honest.address()}));
    CHECK(cache.get("key") == larder::testing::value_of("key"));
    liar_names = replica.port();
    const auto until = Clock::now() + 500ms;
    while (Clock::now() < until) CHECK(cache.get("key") == larder::testing::value_of("key"));
    CHECK(replica.count("GET") == 0);
    CHECK(honest.count("SENTINEL") >= 1);
  }
  SECTION("and when there is no honest one, the message says why") {
    liar_names = replica.port();
    RedisCache cache(client_of({liar.address()}));
    std::string message;
    larder::testing::within(budget, [&] { message = message_of<larder::ConnectionError>([&] { cache.get("key"); }); });
    CHECK_THAT(message, Catch::Matchers::ContainsSubstring("not the primary"));
  }
}

TEST_CASE("sentinels on a slow network are given time as connect_timeout says") {
  AnsweringServer good(serve);
  const std::atomic<int> port{good.port()};
  AnsweringServer slow([&](const Words& words) {
    std::this_thread::sleep_for(250ms);
    return names(port)(words);
  });
  RedisCache cache("redis+sentinel://" + slow.address() + "/main?connect_timeout=5s&command_timeout=5s");
  CHECK(cache.get("key") == larder::testing::value_of("key"));
}

TEST_CASE("what is no address is not used") {
  AnsweringServer good(serve);
  const std::atomic<int> port{good.port()};
  const std::string garbage =
      GENERATE("*0\r\n", "*1\r\n$1\r\nh\r\n", "*2\r\n$1\r\nh\r\n$1\r\nx\r\n", "*2\r\n$1\r\nh\r\n$5\r\n65536\r\n",
               "*2\r\n$0\r\n\r\n$1\r\n1\r\n", "*2\r\n$3\r\na b\r\n$1\r\n1\r\n", "*2\r\n:1\r\n:1\r\n", "$1\r\nx\r\n",
               ":1\r\n", "$-1\r\n", "-ERR no\r\n", "-NOAUTH Authentication required.\r\n");
  AnsweringServer bad(
      [&](const Words& words) { return words.front() == "SENTINEL" ? Bytes(garbage) : AnsweringServer::usual(words); });
  AnsweringServer honest(names(port));
  RedisCache cache(client_of({bad.address(), honest.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
}

TEST_CASE("READONLY asks the sentinels at once, and the command goes to the new primary, also one not to be repeated") {
  AnsweringServer old_primary(serve), new_primary(serve);
  std::atomic<int> port{old_primary.port()};
  AnsweringServer sentinel(names(port));
  Sentinel::Options options;
  options.sentinel_check = 1h;
  RedisCache cache(std::make_shared<Sentinel>(std::vector<std::string>{sentinel.address()}, "main", options));
  cache.set("key", "value");
  std::this_thread::sleep_for(200ms);  // when a sentinel may be asked again
  port = new_primary.port();
  old_primary.answer_with([](const Words& words) -> Bytes {
    if (words.front() == "SET") return "-READONLY You can't write against a read only replica.\r\n";
    return serve(words);
  });
  CHECK(cache.add("key", "value"));
  CHECK(new_primary.count("SET") == 1);
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(old_primary.count("GET") == 0);
}

TEST_CASE("a sentinel that says nothing keeps nobody for long") {
  AnsweringServer good(serve);
  const std::atomic<int> port{good.port()};
  std::atomic<bool> hangs{false};
  AnsweringServer hung([&](const Words& words) -> Bytes {
    if (hangs && words.front() == "SENTINEL") return "";
    return names(port)(words);
  });
  AnsweringServer honest(names(port));
  RedisCache cache(client_of({hung.address(), honest.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  hangs = true;
  const auto until = Clock::now() + 1s;
  Clock::duration longest{};
  while (Clock::now() < until) {
    const auto begin = Clock::now();
    CHECK(cache.get("key") == larder::testing::value_of("key"));
    longest = std::max(longest, Clock::now() - begin);
  }
  CHECK(longest < 300ms);
  CHECK(honest.count("SENTINEL") >= 1);
}

TEST_CASE(
    "a server that a sentinel names, and that hangs once it has greeted, takes the time of no call beyond its end") {
  std::atomic<int> pings{0};
  AnsweringServer hung([&](const Words& words) -> Bytes {
    if (words.front() == "HELLO") std::this_thread::sleep_for(300ms);
    if (words.front() == "PING" && ++pings % 2 == 0) return "";
    return serve(words);
  });
  AnsweringServer slow([](const Words& words) {
    if (words.front() == "GET") std::this_thread::sleep_for(800ms);
    return serve(words);
  });
  const std::atomic<int> hung_port{hung.port()}, slow_port{slow.port()};
  AnsweringServer liar(names(hung_port)), honest(names(slow_port));
  const std::string url = "redis+sentinel://" + liar.address();
  const auto begin = Clock::now();
  SECTION("a deadline") {
    const auto client = larder::redis::make_client(url + "/main");
    CHECK_THROWS_AS(client->run(Command("GET", Key{"key"}), begin + 200ms), larder::TimeoutError);
    CHECK(Clock::now() - begin < 200ms + sooner);
  }
  SECTION("connect_timeout + command_timeout, in which the next sentinel is asked, too") {
    RedisCache cache(url + "," + honest.address() + "/main");
    CHECK(cache.get("key") == larder::testing::value_of("key"));
    CHECK(Clock::now() - begin < 1500ms + sooner);
  }
  SECTION("and if no sentinel names another one, that is all that is said") {
    RedisCache cache(url + "/main?connect_timeout=400ms&command_timeout=600ms");
    CHECK_THROWS_AS(cache.get("key"), larder::TimeoutError);
    CHECK(Clock::now() - begin < 1s + sooner);
  }
}

TEST_CASE("a slow sentinel makes no call later than its deadline") {
  AnsweringServer good(serve);
  const std::atomic<int> port{good.port()};
  std::atomic<bool> is_slow{false};
  AnsweringServer sentinel([&](const Words& words) {
    if (is_slow && words.front() == "SENTINEL") std::this_thread::sleep_for(190ms);
    return names(port)(words);
  });
  const auto client =
      larder::redis::make_client("redis+sentinel://" + sentinel.address() + "/main?sentinel_check=50ms");
  const auto slow = [&](std::chrono::milliseconds allowed) {
    const auto begin = Clock::now();
    CHECK(client->run(Command("GET", Key{"key"}), begin + allowed).string() == larder::testing::value_of("key"));
    return Clock::now() - begin > allowed + 50ms;
  };
  CHECK_FALSE(slow(10s));
  is_slow = true;
  int slow_calls = 0;
  const auto asked = sentinel.count("SENTINEL");
  REQUIRE(larder::testing::eventually([&] {
    slow_calls += slow(50ms);
    return sentinel.count("SENTINEL") >= asked + 8;
  }));
  CHECK(slow_calls < 3);
}

TEST_CASE("a hung sentinel costs the first caller that asks it little") {
  AnsweringServer good(serve);
  const std::atomic<int> port{good.port()};
  std::atomic<bool> hangs{false};
  AnsweringServer hung([&](const Words& words) -> Bytes {
    if (hangs && words.front() == "SENTINEL") return "";
    return names(port)(words);
  });
  AnsweringServer honest(names(port));
  std::vector<Clock::duration> times;
  for (int i = 0; i < 5; ++i) {
    hangs = false;
    RedisCache cache("redis+sentinel://" + hung.address() + "," + honest.address() + "/main?sentinel_check=1ms");
    CHECK(cache.get("key") == larder::testing::value_of("key"));
    hangs = true;
    std::this_thread::sleep_for(150ms);  // when a sentinel may be asked again
    const auto begin = Clock::now();
    CHECK(cache.get("key") == larder::testing::value_of("key"));
    times.push_back(Clock::now() - begin);
  }
  CHECK(*std::min_element(times.begin(), times.end()) < 100ms);
}

TEST_CASE("sentinels that name a port that says nothing delay who asks them by 200 ms at most") {
  AnsweringServer good(serve), mute([](const Words&) { return ""; });
  std::atomic<int> port{good.port()};
  AnsweringServer sentinel(names(port));
  RedisCache cache("redis+sentinel://" + sentinel.address() + "/main?sentinel_check=100ms");
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  port = mute.port();
  int slow = 0;
  const auto asked = sentinel.count("SENTINEL");
  REQUIRE(larder::testing::eventually([&] {
    const auto begin = Clock::now();
    CHECK(cache.get("key") == larder::testing::value_of("key"));
    slow += Clock::now() - begin > 350ms;
    return sentinel.count("SENTINEL") >= asked + 8;
  }));
  CHECK(slow < 3);
}

TEST_CASE("of a batch only what a replica refused goes to the new primary") {
  AnsweringServer old_primary(serve), new_primary(serve);
  std::atomic<int> port{old_primary.port()};
  AnsweringServer sentinel(names(port));
  const auto client =
      larder::redis::make_client("redis+sentinel://" + sentinel.address() + "/main?sentinel_check=60min");
  client->run(Command("GET", Key{"key"}));
  port = new_primary.port();
  old_primary.answer_with([](const Words& words) -> Bytes {
    return words.front() == "INCR" ? "-READONLY You can't write against a read only replica.\r\n" : serve(words);
  });
  new_primary.answer_with([](const Words& words) { return words.front() == "INCR" ? ":7\r\n" : serve(words); });
  std::vector<Command> commands = {Command("SET", Key{"key"}, "value"), Command("INCR", Key{"number"}),
                                   Command("GET", Key{"key"}), Command("INCR", Key{"other"})};
  for (Command& command : commands) command.never_repeat();
  const auto replies = client->run(commands);
  CHECK(replies[0].is_ok());
  CHECK(replies[1].integer() == 7);
  CHECK(replies[2].string() == larder::testing::value_of("key"));
  CHECK(replies[3].integer() == 7);
  CHECK(new_primary.count("INCR") == 2);
  CHECK(new_primary.count("SET") + new_primary.count("GET") == 0);
}

TEST_CASE("a call that has its reply does not fail because the new primary does") {
  AnsweringServer old_primary(serve);
  AnsweringServer new_primary([](const Words& words) { return words.front() == "GET" ? Bytes() : serve(words); });
  std::atomic<int> port{old_primary.port()};
  AnsweringServer sentinel(names(port));
  RedisCache cache("redis+sentinel://" + sentinel.address() + "/main?sentinel_check=1ms");
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  std::this_thread::sleep_for(150ms);  // when a sentinel may be asked again
  port = new_primary.port();
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(new_primary.count("GET") != 0);
}

TEST_CASE("connections to a former primary are closed") {
  RedisSentinels redis(1, 1);
  RedisCache cache(redis.url("client_name=former&sentinel_check=100ms"));
  VersionedLoad load(cache, threads);
  CHECK_FALSE(redis.node(0).clients_with("name=former ").empty());
  redis.fail_over();
  await_switch(redis, redis.port(0));
  CHECK(larder::testing::eventually([&] { return redis.node(0).clients_with("name=former ").empty(); }, 2s));
  CHECK(redis.is_primary(0));  // it has not been told yet, so that it has not closed them itself
  CHECK_FALSE(redis.node(1).clients_with("name=former ").empty());
}

TEST_CASE("what is wrong with the primary is said as by a single server") {
  SECTION("a refusal, whichever sentinel is asked") {
    RedisSentinels::Settings settings;
    settings.password = "s3cr3t";
    RedisSentinels redis(0, 1, settings);
    const std::string sentinel = "127.0.0.1:" + std::to_string(redis.sentinel_port(0));
    for (const std::string& hosts : {sentinel, sentinel + ",127.0.0.1:1"}) {
      RedisCache wrong("redis+sentinel://:s3cr3t-t00@" + hosts + "/main");
      CHECK(larder::testing::code_of([&] { wrong.get("key"); }) == "WRONGPASS");
      CHECK_THAT(message_of<larder::ServerError>([&] { wrong.get("key"); }),
                 Catch::Matchers::StartsWith("127.0.0.1:" + std::to_string(redis.port(0)) + ": WRONGPASS"));
    }
  }
  SECTION("sentinels that say nothing") {
    AnsweringServer mute([](const Words& words) { return words.front() == "PING" ? "+PONG\r\n" : ""; });
    RedisCache cache(client_of({mute.address()}));
    CHECK_THAT(message_of<larder::TimeoutError>([&] { cache.set("key", "value"); }),
               !Catch::Matchers::ContainsSubstring("outcome"));
  }
  SECTION("no time") {
    AnsweringServer good(serve);
    const std::atomic<int> port{good.port()};
    AnsweringServer sentinel(names(port));
    CHECK_THROWS_AS(client_of({sentinel.address()})->run(Command("GET", Key{"key"}), larder::redis::Deadline::min()),
                    larder::TimeoutError);
  }
}

TEST_CASE("READONLY right after a question is not the caller's, and no more questions are asked for it") {
  AnsweringServer old_primary(serve), new_primary(serve);
  std::atomic<int> port{old_primary.port()};
  AnsweringServer sentinel(names(port));
  RedisCache cache("redis+sentinel://" + sentinel.address() + "/main?sentinel_check=60min");
  cache.set("key", "value");
  port = new_primary.port();
  old_primary.answer_with([](const Words& words) -> Bytes {
    if (words.front() == "SET") return "-READONLY You can't write against a read only replica.\r\n";
    return serve(words);
  });
  larder::testing::in_threads(8, [&](const std::string& key) { cache.set(key, "value"); });
  CHECK(new_primary.count("SET") == 8);
  CHECK(sentinel.count("SENTINEL") == 2);
}

TEST_CASE("while the sentinels name a primary that is none they are asked every 100 ms, and callers are not held up") {
  AnsweringServer primary(serve);
  const std::atomic<int> port{primary.port()};
  AnsweringServer sentinel(names(port));
  RedisCache cache("redis+sentinel://" + sentinel.address() + "/main?sentinel_check=60min");
  cache.set("key", "value");
  primary.answer_with([](const Words& words) -> Bytes {
    return words.front() == "SET" ? "-READONLY You can't write against a read only replica.\r\n" : serve(words);
  });
  const auto until = Clock::now() + 1s;
  std::atomic<int> calls{0}, refused{0};
  larder::testing::in_threads(8, [&](const std::string& key) {
    for (; Clock::now() < until; ++calls) {
      if (larder::testing::code_of([&] { cache.set(key, "value"); }) == "READONLY") ++refused;
    }
  });
  CHECK(refused == calls);
  CHECK(sentinel.count("SENTINEL") >= 4);
  CHECK(sentinel.count("SENTINEL") <= 12);
  CHECK(calls > 200);
}
