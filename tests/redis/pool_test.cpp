#include <larder/redis/pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/shared_redis.hpp"
#include "support/testing.hpp"

using larder::ConnectionError;
using larder::InvalidArgument;
using larder::redis::Client;
using larder::redis::Command;
using larder::redis::Key;
using larder::redis::Options;
using larder::redis::Pool;
using larder::redis::Reply;
using larder::redis::Value;
using larder::testing::ask;
using larder::testing::connect;
using larder::testing::eventually;
using larder::testing::in_threads;
using larder::testing::message_of;
using larder::testing::PrivateDatabase;
using larder::testing::redis_socket;
using larder::testing::shared_redis;
using larder::testing::text_of;
using larder::testing::value_of;
using namespace std::chrono_literals;
using Kind = Reply::Kind;

static_assert(std::is_base_of_v<Client, Pool> && std::has_virtual_destructor_v<Client>);
static_assert(!std::is_copy_constructible_v<Pool> && !std::is_move_constructible_v<Pool>);
static_assert(std::is_constructible_v<Pool, Options> && !std::is_convertible_v<Options, Pool>);
static_assert(std::is_constructible_v<Pool, redisContext*> && !std::is_convertible_v<redisContext*, Pool>);

namespace {

/// Database 4 of the test server, and the pool's connections as the server lists them.
struct Server {
  std::size_t connections() {
    const std::string list = probe.text("CLIENT", "LIST").value();
    std::size_t count = 0;
    for (std::size_t at = 0; (at = list.find(" name=pool-test ", at)) != std::string::npos; ++at) ++count;
    return count;
  }

  PrivateDatabase probe{4};
};

Options options() {
  Options options;
  options.unix_socket = redis_socket();
  options.database = 4;
  options.client_name = "pool-test";
  options.command_timeout = 20s;
  return options;
}

Command get(const std::string& key) { return Command("GET", Key{key}).expects(Kind::string); }
Command set(const std::string& key, const std::string& value) {
  return Command("SET", Key{key}, Value{value}).expects(Kind::status);
}

}  // namespace

TEST_CASE("a pool connects when there is something to do, and leaves when it is destroyed") {
  Server server;
  {
    Pool pool(options());
    CHECK(pool.run(std::vector<Command>()).empty());
    CHECK(server.connections() == 0);
    for (int i = 0; i < 100; ++i) CHECK(pool.run(Command("PING")).is_status());
    CHECK(server.connections() == 1);
  }
  CHECK(eventually([&] { return server.connections() == 0; }));

  Options nowhere;
  nowhere.unix_socket = "/nonexistent/redis.sock";
  Pool pool(nowhere);
  CHECK_THROWS_AS(pool.run(get("key")), ConnectionError);
}

TEST_CASE("bad options and contexts are refused by the constructor") {
  Options no_connections = options();
  no_connections.connections = 0;
  CHECK_THROWS_AS(Pool(no_connections), InvalidArgument);
  Options no_time = options();
  no_time.command_timeout = 0ms;
  CHECK_THROWS_AS(Pool(no_time), InvalidArgument);
  CHECK_THROWS_AS(Pool(static_cast<redisContext*>(nullptr)), InvalidArgument);
}

TEST_CASE("a connection has the user, the database and the name of the options") {
  Server server;
  server.probe("ACL", "SETUSER", "pooled", "reset", "on", ">p ss\r\n", "~*", "+@all");
  Options named = options();
  named.username = "pooled";
  named.password = "p ss\r\n";
  {
    Pool pool(named);
    CHECK(pool.run(Command("ACL", "WHOAMI")).take_string() == "pooled");
    CHECK(pool.run(Command("CLIENT", "GETNAME")).take_string() == "pool-test");
    CHECK(pool.run(set("key", "value")).is_status());
    CHECK(server.probe.text("GET", "key") == "value");
  }
  server.probe("ACL", "DELUSER", "pooled");
}

TEST_CASE("replies of every kind, a server's error among them") {
  Server server;
  Pool pool(options());
  CHECK(pool.run(get("key")).kind() == Kind::null);
  CHECK(pool.run(set("key", "value")).kind() == Kind::status);
  CHECK(pool.run(get("key")).take_string() == "value");
  CHECK(pool.run(Command("STRLEN", Key{"key"})).integer() == 5);
  auto array = pool.run(Command("MGET", Key{"key"}, Key{"absent"})).take_array();
  REQUIRE(array.size() == 2);
  CHECK(array[0].take_string() == "value");
  CHECK(array[1].take_string() == std::nullopt);
  const Reply failure = pool.run(Command("LLEN", Key{"key"}));
  CHECK(failure.failure().substr(0, 9) == "WRONGTYPE");
  CHECK(pool.run(get("key")).take_string() == "value");
  CHECK(server.connections() == 1);
}

TEST_CASE("the replies of a pipeline are in the order of its commands") {
  Server server;
  Pool pool(options());
  std::vector<Command> commands;
  for (std::size_t i = 0; i < 10'000; ++i) {
    const std::string key = std::to_string(i);
    if (i % 3 == 0) commands.push_back(get(key));
    if (i % 3 == 1) commands.push_back(Command("ECHO", value_of(key)));
    if (i % 3 == 2) commands.push_back(Command("GET"));
  }
  for (int round = 0; round < 3; ++round) {
    auto replies = pool.run(commands);
    REQUIRE(replies.size() == commands.size());
    for (std::size_t i = 0; i < replies.size(); ++i) {
      if (i % 3 == 0) REQUIRE(replies[i].kind() == Kind::null);
      if (i % 3 == 1) REQUIRE(replies[i].take_string() == value_of(std::to_string(i)));
      if (i % 3 == 2) REQUIRE(replies[i].failure().substr(0, 3) == "ERR");
    }
  }
  CHECK(pool.run(get("key")).kind() == Kind::null);
}

TEST_CASE("a pipeline may be larger than what fits between the two sides") {
  Server server;
  Pool pool(options());
  std::vector<std::string> values;
  for (int i = 0; i < 24; ++i) values.push_back(value_of(std::to_string(i), 2'000'000));
  std::vector<Command> commands;
  for (const auto& value : values) commands.push_back(Command("ECHO", Value{value}));
  auto replies = pool.run(commands);
  REQUIRE(replies.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i) CHECK((replies[i].take_string() == values[i]));
}

TEST_CASE("an answer of another kind than the command has is not handed out, and the pool goes on") {
  Server server;
  Pool pool(options());
  pool.run(set("key", "value"));
  CHECK_THROWS_AS(pool.run(Command("GET", Key{"key"}).expects(Kind::integer)), larder::ProtocolError);
  CHECK(pool.run(get("key")).take_string() == "value");
}

TEST_CASE("a pool is the one primary that it knows") {
  Pool pool(options());
  std::vector<Client*> primaries;
  pool.for_each_primary([&](Client& primary) { primaries.push_back(&primary); });
  CHECK(primaries == std::vector<Client*>{&pool});
  CHECK(pool.slot("prefix", "key") == pool.slot("", "other"));
}

TEST_CASE("many threads share few connections, and each gets its own replies") {
  Server server;
  Options shared = options();
  shared.connections = GENERATE(1U, 2U, 4U);
  shared.busy_poll = GENERATE(0us, 50us);
  shared.command_timeout = 6s;
  CAPTURE(shared.connections, shared.busy_poll.count());
  Pool pool(shared);
  std::atomic<std::size_t> right{0};
  constexpr std::size_t threads = 32, rounds = 100;
  std::vector<std::chrono::nanoseconds> times(threads * rounds);
  in_threads(threads, [&](const std::string& me) {
    for (std::size_t round = 0; round < rounds; ++round) {
      const std::string key = me + " " + std::to_string(round);
      const std::string value = value_of(key, round % 10 == 0 ? 100'000 : 10 + round);
      const auto start = std::chrono::steady_clock::now();
      const bool stored = pool.run(set(key, value)).is_status();
      const bool read = pool.run(get(key)).take_string() == value;
      auto replies = pool.run({get(key), Command("ECHO", key), get("absent")});
      const bool piped = replies.size() == 3 && replies[0].take_string() == value && replies[1].take_string() == key &&
                         !replies[2].take_string();
      right += stored && read && piped ? 1U : 0U;
      times[std::stoul(me) * rounds + round] = std::chrono::steady_clock::now() - start;
    }
  });
  CHECK(right == threads * rounds);
  std::sort(times.begin(), times.end());
  CHECK(times[times.size() / 2] < 50ms);  // 32 threads want two processors
  CHECK(server.connections() >= 1);
  CHECK(server.connections() <= shared.connections);
  for (int i = 0; i < 100; ++i) CHECK(pool.run(get("absent")).kind() == Kind::null);
}

TEST_CASE("a command that waits does not hold up the others") {
  Server server;
  server.probe("SET", "key", value_of("key"));
  Options two = options();
  two.connections = 2;
  Pool pool(two);
  server.probe("CLIENT", "PAUSE", "60000", "WRITE");
  std::thread waiting([&] { pool.run(set("waiting", value_of("waiting"))); });
  CHECK(eventually(
      [&] { return server.probe.text("INFO", "clients").value().find("blocked_clients:1") != std::string::npos; }));
  std::atomic<std::size_t> right{0};
  in_threads(8, [&](const std::string&) {
    for (int round = 0; round < 20; ++round) right += pool.run(get("key")).take_string() == value_of("key") ? 1U : 0U;
  });
  CHECK(right == 8 * 20);
  CHECK(server.probe.text("GET", "waiting") == std::nullopt);
  server.probe("CLIENT", "UNPAUSE");
  waiting.join();
  CHECK(server.probe.text("GET", "waiting") == value_of("waiting"));
  CHECK(server.connections() == 2);
}

TEST_CASE("a deadline holds for one call, in place of the options' times") {
  Server server;
  Options patient = options();
  patient.connections = 1;
  Pool pool(patient);
  const auto took = [](auto call) {
    const auto begin = std::chrono::steady_clock::now();
    CHECK_THROWS_AS(call(), larder::TimeoutError);
    return std::chrono::steady_clock::now() - begin;
  };
  server.probe("CLIENT", "PAUSE", "60000", "WRITE");
  const auto in = [](auto time) { return std::chrono::steady_clock::now() + time; };
  CHECK(took([&] { pool.run(set("key", "value"), in(50ms)); }) >= 50ms);
  CHECK(took([&] { pool.run({get("key"), set("key", "value")}, in(50ms)); }) >= 50ms);
  CHECK(took([&] { pool.run(get("key"), in(-1ms)); }) < 10s);
  CHECK(pool.run(get("key"), in(10s)).kind() == Kind::null);
  server.probe("CLIENT", "UNPAUSE");
  CHECK(pool.run(set("key", "value"), in(10s)).is_ok());
}

TEST_CASE("the generation of a pool changes when a connection is lost") {
  Server server;
  Pool pool(options());
  const auto before = pool.generation();
  const auto id = pool.run(Command("CLIENT", "ID")).integer();
  CHECK(pool.generation() == before);
  server.probe("CLIENT", "KILL", "ID", std::to_string(id));
  CHECK(pool.run(Command("CLIENT", "ID")).integer() != id);
  CHECK(pool.generation() != before);
}

TEST_CASE("nil answers any command, and the connection is kept") {
  Server server;
  Pool pool(options());
  const auto id = pool.run(Command("CLIENT", "ID")).integer();
  for (const Kind kind : {Kind::string, Kind::status, Kind::integer, Kind::array}) {
    CHECK(pool.run(Command("ZRANK", Key{"absent"}, "member").expects(kind)).kind() == Kind::null);
  }
  CHECK(pool.run(Command("LPOP", Key{"absent"}, 2)).kind() == Kind::null);
  CHECK(pool.run(Command("CLIENT", "ID")).integer() == id);
}

TEST_CASE("commands that would change a connection for others are refused, and nothing is sent") {
  Server server;
  const auto context = connect(shared_redis());
  ask(*context, {"SELECT", "4"});
  Pool own(options()), borrowing(context.get());
  for (Pool* pool : {&own, &borrowing}) {
    pool->run(set("key", "value"));
    for (const auto& command : {Command("SELECT", 9), Command("multi"), Command("BLPOP", Key{"list"}, 0)}) {
      const std::string name(command.name());
      CHECK(message_of<InvalidArgument>([&] { pool->run(command); }) ==
            name + " changes its connection or keeps it busy, and this client's connections are shared");
      CHECK_THROWS_AS(pool->run({get("key"), command}), InvalidArgument);
    }
    CHECK(pool->run(get("key")).take_string() == "value");
  }
}

TEST_CASE("a borrowed context carries the calls of many threads, and is handed back") {
  Server server;
  const auto context = connect(shared_redis());
  ask(*context, {"SELECT", "4"});
  redisSetTimeout(context.get(), {20, 0});
  std::atomic<std::size_t> right{0};
  {
    Pool pool(context.get());
    CHECK(server.connections() == 0);
    in_threads(16, [&](const std::string& me) {
      for (int round = 0; round < 50; ++round) {
        const std::string key = me + " " + std::to_string(round);
        pool.run(set(key, value_of(key)));
        right += pool.run(get(key)).take_string() == value_of(key) ? 1U : 0U;
      }
    });
  }
  CHECK(right == 16 * 50);
  CHECK(context->err == 0);
  CHECK(text_of(*ask(*context, {"DBSIZE"})) == "800");
}
