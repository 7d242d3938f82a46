#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <larder/redis_cache.hpp>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/shared_redis.hpp"
#include "support/sockets.hpp"
#include "support/testing.hpp"

using Catch::Matchers::ContainsSubstring;
using larder::BatchError;
using larder::ConnectionError;
using larder::InvalidArgument;
using larder::RedisCache;
using larder::ServerError;
using larder::testing::ask;
using larder::testing::code_of;
using larder::testing::connect;
using larder::testing::Context;
using larder::testing::eventually;
using larder::testing::message_of;
using larder::testing::PrivateDatabase;
using larder::testing::Probe;
using larder::testing::redis_socket;
using larder::testing::redis_url;
using larder::testing::shared_redis;
using larder::testing::text_of;
using namespace std::chrono_literals;
using Values = std::vector<std::optional<std::string>>;

static_assert(std::is_base_of_v<larder::BaseCache, RedisCache> && !std::is_copy_constructible_v<RedisCache>);
static_assert(std::is_constructible_v<RedisCache, redisContext*> && !std::is_convertible_v<redisContext*, RedisCache>);
static_assert(std::is_constructible_v<RedisCache, std::string_view, std::string>);
static_assert(std::is_constructible_v<RedisCache, const char*, const char*>);
static_assert(std::is_constructible_v<RedisCache, const std::string&>);
static_assert(std::is_constructible_v<RedisCache, std::shared_ptr<larder::redis::Client>, std::string>);
static_assert(std::is_constructible_v<RedisCache, std::shared_ptr<larder::redis::Pool>>);
static_assert(!std::is_convertible_v<std::string, RedisCache> && !std::is_constructible_v<RedisCache, int>);

namespace {

/// Two databases of the test server.
struct Databases {
  std::string url = redis_url("db=2&command_timeout=20s");
  PrivateDatabase probe{2};
  PrivateDatabase other{3};
};

/// A user of the test server who may only touch keys that begin with "mine:".
class User {
 public:
  User() { probe_("ACL", "SETUSER", "larder", "reset", "on", ">s3cr3t", "~mine:*", "+@all"); }
  ~User() { probe_("ACL", "DELUSER", "larder"); }
  User(const User&) = delete;
  User& operator=(const User&) = delete;

  std::string url = redis_url("db=2", "larder:s3cr3t@");

 private:
  Probe probe_{shared_redis()};
};

std::string number(std::size_t i) { return std::to_string(i); }

}  // namespace

TEST_CASE("the server holds exactly the caller's bytes under prefix and key") {
  Databases databases;
  const std::string bytes("a\0b\r\n\xFF\x80 \\\"", 10);
  const std::string prefix = GENERATE(as<std::string>(), "", "p:", "a*b[c]?\\:", std::string("\0\xFF", 2));
  RedisCache cache(databases.url, prefix);

  cache.set(bytes, bytes);
  CHECK(databases.probe.text("GET", prefix + bytes) == bytes);
  cache.set_many({{"key", bytes}, {"", "no key"}});
  CHECK(databases.probe.text("GET", prefix + "key") == bytes);
  CHECK(databases.probe.text("GET", prefix) == "no key");
  CHECK(cache.add("added", bytes));
  CHECK(databases.probe.text("GET", prefix + "added") == bytes);
  CHECK(databases.probe.integer("DBSIZE") == 4);

  databases.probe("SET", prefix + "theirs", bytes);
  CHECK(cache.get("theirs") == bytes);
  CHECK(cache.get_many({"theirs", "absent"}) == Values{bytes, std::nullopt});
  CHECK(cache.erase("theirs"));
  CHECK(databases.probe.integer("EXISTS", prefix + "theirs") == 0);
}

TEST_CASE("a key of another type is an error to get, a miss in a batch, and replaced by set") {
  Databases databases;
  RedisCache cache(databases.url, "p:");
  databases.probe("RPUSH", "p:list", "element");
  databases.probe("SET", "p:string", "value");

  CHECK(code_of([&] { cache.get("list"); }) == "WRONGTYPE");
  CHECK(cache.get("string") == "value");
  CHECK(cache.get_many({"list", "string"}) == Values{std::nullopt, "value"});
  CHECK(cache.contains("list"));
  CHECK_FALSE(cache.add("list", "value"));
  CHECK(cache.touch("list", 100));
  CHECK(databases.probe.text("TYPE", "p:list") == "list");

  cache.set("list", "value");
  CHECK(cache.get("list") == "value");
  CHECK(databases.probe.integer("PTTL", "p:list") == -1);

  databases.probe("HSET", "p:hash", "field", "value");
  CHECK(cache.erase("hash"));
  CHECK(databases.probe.integer("EXISTS", "p:hash") == 0);
}

TEST_CASE("the longest expiry is one that the server takes, and still far away") {
  Databases databases;
  RedisCache cache(databases.url);
  const long long centuries = 1000LL * 3600 * 24 * 365 * 1'000'000;
  cache.set("set", "value", std::numeric_limits<long long>::max());
  CHECK(cache.add("add", "value", (std::chrono::hours::max)()));
  cache.set("touch", "value");
  CHECK(cache.touch("touch", (std::chrono::milliseconds::max)()));
  cache.set_many({{"many", "value"}}, std::numeric_limits<unsigned long long>::max());
  for (const std::string key : {"set", "add", "touch", "many"}) {
    CHECK(cache.get(key) == "value");
    CHECK(databases.probe.integer("PTTL", key) > centuries);
  }
}

TEST_CASE("clear removes what begins with the prefix, and nothing that resembles it") {
  Databases databases;
  const std::string prefix = GENERATE(as<std::string>(), "app:", "*", "?", "a*b[c]?\\:", "[a-z]", "[^a]", "\\", "\\*",
                                      "]", "{tag}", "%s", std::string("\0:", 2), "\r\n", "\xFF\xFE");
  CAPTURE(prefix);
  RedisCache cache(databases.url, prefix);
  std::set<std::string> foreign{
      "",     "a",         "ab",    "axb[c]x\\:", "a*bc?\\:",   "a*b[c]?:",       "ab[c]?\\:",
      "app",  "APP:1",     "xapp:", "app;1",      " " + prefix, prefix.substr(1), "x" + prefix + "1",
      "abc:", "z",         "b",     "^a",         "\\\\",       "{tag",           "/*",
      "%",    "aXXbc?\\:", "\xFF",  "\r",         "\n",         "unrelated"};
  for (auto key = foreign.begin(); key != foreign.end();) {
    key = key->compare(0, prefix.size(), prefix) == 0 ? foreign.erase(key) : std::next(key);
  }
  REQUIRE(foreign.size() > 20);
  for (const auto& key : foreign) databases.probe("SET", key, "foreign");
  databases.other("SET", prefix + "1", "foreign");
  for (std::size_t i = 0; i < 100; ++i) cache.set(number(i), "mine");
  cache.set("", "mine");
  databases.probe("RPUSH", prefix + "list", "mine");

  cache.clear();
  for (const auto& key : foreign) CHECK(databases.probe.text("GET", key) == "foreign");
  CHECK(databases.probe.integer("DBSIZE") == static_cast<long long>(foreign.size()));
  CHECK(databases.other.text("GET", prefix + "1") == "foreign");
}

TEST_CASE("clear without a prefix clears the selected database, and no other") {
  Databases databases;
  RedisCache cache(databases.url);
  for (std::size_t i = 0; i < 5000; ++i) databases.probe("SET", "key " + number(i), "value");
  databases.probe("RPUSH", "list", "element");
  databases.other("SET", "key", "value");
  cache.clear();
  CHECK(databases.probe.integer("DBSIZE") == 0);
  CHECK(databases.other.integer("DBSIZE") == 1);
}

TEST_CASE("clear next to running writers removes all that was there before it") {
  Databases databases;
  RedisCache cache(databases.url, "mine:");
  constexpr std::size_t count = 20'000;
  std::map<std::string, std::string> before;
  for (std::size_t i = 0; i < count; ++i) before.emplace("before " + number(i), number(i));
  cache.set_many(before);

  std::atomic<bool> stop{false};
  std::atomic<std::size_t> written{0};
  std::thread writer([&] {
    RedisCache foreign(databases.url, "mine;");
    while (!stop) {
      foreign.set(number(written), "foreign " + number(written));
      cache.set("meanwhile " + number(written), "value");
      ++written;
    }
  });
  const bool began = eventually([&] { return written > 100; });
  cache.clear();
  const std::size_t at_the_end = written;
  const bool went_on = eventually([&] { return written > at_the_end; });
  stop = true;
  writer.join();

  CHECK(began);
  CHECK(went_on);
  std::size_t left = 0, wrong = 0;
  for (const auto& [key, value] : before) left += cache.contains(key) ? 1U : 0U;
  for (std::size_t i = 0; i < written; ++i) {
    wrong += databases.probe.text("GET", "mine;" + number(i)) == "foreign " + number(i) ? 0U : 1U;
  }
  CHECK(left == 0);
  CHECK(wrong == 0);
}

TEST_CASE("clear leaves a million other keys alone") {
  Databases databases;
  constexpr std::size_t foreign = 1'000'000, step = 10'000;
  for (std::size_t i = 0; i < foreign; i += step) {
    databases.probe("EVAL", "for i = ARGV[1], ARGV[2] do redis.call('SET', 'foreign:' .. i, 'value ' .. i) end", "0",
                    number(i), number(i + step - 1));
  }
  REQUIRE(databases.probe.integer("DBSIZE") == foreign);
  RedisCache cache(databases.url, "foreign");
  RedisCache mine(databases.url, "mine:");
  for (std::size_t i = 0; i < 1000; ++i) mine.set(number(i), "value");

  databases.probe("CONFIG", "RESETSTAT");
  mine.clear();
  CHECK(databases.probe.calls_of("keys") == 0);
  CHECK(databases.probe.calls_of("scan") >= 1);
  CHECK(databases.probe.calls_of("scan") <= 2000);  // a thousand keys and more with each
  CHECK(databases.probe.calls_of("del") <= 1000);

  CHECK(databases.probe.integer("DBSIZE") == foreign);
  for (std::size_t i = 0; i < foreign; i += 997) {
    REQUIRE(databases.probe.text("GET", "foreign:" + number(i)) == "value " + number(i));
  }
}

TEST_CASE("a user who may not touch some keys of a batch is told which, and the rest is carried out") {
  Databases databases;
  User user;
  RedisCache cache(user.url);
  databases.probe("SET", "theirs", "foreign");
  using Indexes = std::vector<std::size_t>;
  const auto refused = [](auto action) {
    Indexes indexes;
    try {
      action();
    } catch (const BatchError& error) {
      CHECK(error.code() == "NOPERM");
      for (const auto& refusal : error.refusals()) {
        CHECK_THAT(refusal.message, ContainsSubstring("NOPERM"));
        indexes.push_back(refusal.index);
      }
      CHECK(error.sent() >= indexes.size());
    }
    return indexes;
  };

  CHECK(refused([&] {
          cache.set_many({{"mine:a", "1"}, {"theirs", "x"}, {"mine:b", "2"}, {"other", "y"}}, 100);
        }) == Indexes{1, 3});
  CHECK(databases.probe.text("GET", "mine:a") == "1");
  CHECK(databases.probe.text("GET", "mine:b") == "2");
  CHECK(databases.probe.integer("PTTL", "mine:b") > 90'000);
  CHECK(databases.probe.text("GET", "theirs") == "foreign");
  CHECK(databases.probe.integer("EXISTS", "other") == 0);

  CHECK(refused([&] { cache.get_many({"mine:a", "mine:b", "theirs"}); }) == Indexes{2});
  CHECK(cache.get_many({"mine:a", "mine:b"}) == Values{"1", "2"});

  CHECK(refused([&] { cache.erase_many({"mine:a", "theirs", "mine:b", "theirs"}); }) == Indexes{1, 3});
  CHECK(databases.probe.integer("EXISTS", "mine:a", "mine:b") == 0);
  CHECK(databases.probe.text("GET", "theirs") == "foreign");

  CHECK(code_of([&] { cache.get("theirs"); }) == "NOPERM");
  CHECK(code_of([&] { cache.set("theirs", "x"); }) == "NOPERM");
  CHECK(code_of([&] { cache.add("theirs", "x"); }) == "NOPERM");
  CHECK(code_of([&] { cache.touch("theirs", 1); }) == "NOPERM");
  CHECK(code_of([&] { cache.touch("theirs", {}); }) == "NOPERM");
  CHECK(code_of([&] { cache.erase("theirs"); }) == "NOPERM");
  CHECK(code_of([&] { static_cast<void>(cache.contains("theirs")); }) == "NOPERM");
  cache.set("mine:c", "3");
  CHECK(cache.get("mine:c") == "3");
}

TEST_CASE("a refusal deep in a large batch has its place, and the pieces after it are done") {
  Databases databases;
  User user;
  RedisCache cache(user.url);
  std::vector<std::pair<std::string, std::string>> items;
  for (std::size_t i = 0; i < 10'000; ++i) items.emplace_back("mine:" + number(i), number(i));
  items[1500].first = "theirs";
  try {
    cache.set_many(items);
    FAIL("no error");
  } catch (const BatchError& error) {
    REQUIRE(error.refusals().size() == 1);
    CHECK(error.refusals()[0].index == 1500);
    CHECK(error.sent() == items.size());
    CHECK(databases.probe.integer("DBSIZE") == static_cast<long long>(error.sent()) - 1);
    CHECK(databases.probe.text("GET", "mine:" + number(error.sent() - 1)) == number(error.sent() - 1));
  }
}

TEST_CASE("a borrowed context stays its owner's") {
  Databases databases;
  const Context context = connect(shared_redis());
  redisSetTimeout(context.get(), {7, 0});
  const auto run = [&](auto... words) { return text_of(*ask(*context, {words...})); };
  const auto timeout = [&] {
    timeval value{};
    socklen_t size = sizeof value;
    getsockopt(context->fd, SOL_SOCKET, SO_RCVTIMEO, &value, &size);
    return value.tv_sec;
  };
  CHECK(run("SELECT", "2") == "OK");
  const int flags = fcntl(context->fd, F_GETFL);
  const auto* const functions = context->reader->fn;
  {
    RedisCache cache(context.get(), "p:");
    cache.set("key", "value");
    CHECK(run("GET", "p:key") == "value");
    CHECK(cache.get("key") == "value");
    CHECK(run("SET", "p:key", "other") == "OK");
    CHECK(cache.get("key") == "other");
    CHECK(cache.get_many({"key", "absent"}) == Values{"other", std::nullopt});
    cache.close();
    CHECK(cache.contains("key"));
  }
  CHECK(run("GET", "p:key") == "other");
  CHECK(context->err == 0);
  CHECK(timeout() == 7);
  CHECK(fcntl(context->fd, F_GETFL) == flags);
  CHECK(context->reader->fn == functions);
}

TEST_CASE("nothing succeeds inside a transaction of a borrowed context") {
  Databases databases;
  const auto call = GENERATE(0, 1, 2, 3, 4, 5);
  const Context context = connect(shared_redis());
  CHECK(text_of(*ask(*context, {"MULTI"})) == "OK");
  RedisCache cache(context.get(), "p:");
  const auto run = [&] {
    if (call == 0) cache.set("key", "value");
    if (call == 1) cache.set("key", "value", 60);
    if (call == 2) cache.add("key", "value");
    if (call == 3) cache.get("key");
    if (call == 4) cache.set_many({{"key", "value"}});
    if (call == 5) cache.erase("key");
  };
  CAPTURE(call);
  CHECK_THROWS_AS(run(), larder::Error);
}

TEST_CASE("a context that cannot be borrowed is refused with the reason") {
  const auto refusal = [](redisContext* context) {
    return message_of<InvalidArgument>([&] { RedisCache cache(context); });
  };
  CHECK_THAT(refusal(nullptr), ContainsSubstring("null"));
  const Context in_error(redisConnectUnix("/nonexistent/redis.sock"));
  CHECK_THAT(refusal(in_error.get()), ContainsSubstring("error") && ContainsSubstring("No such file"));
  const Context non_blocking(redisConnectUnixNonBlock(redis_socket().c_str()));
  REQUIRE(non_blocking->err == 0);
  CHECK_THAT(refusal(non_blocking.get()), ContainsSubstring("non-blocking"));
  const Context owing = connect(shared_redis());
  REQUIRE(redisAppendCommand(owing.get(), "PING") == REDIS_OK);
  CHECK_THAT(refusal(owing.get()), ContainsSubstring("pending"));
}

TEST_CASE("a borrowed context that its owner broke gives errors until it is repaired") {
  Databases databases;
  const Context context = connect(shared_redis());
  RedisCache cache(context.get());
  cache.set("key", "value");
  shutdown(context->fd, SHUT_RDWR);
  CHECK_THROWS_AS(cache.get("key"), ConnectionError);
  CHECK(context->err != 0);
  CHECK_THAT(message_of<ConnectionError>([&] { cache.get("key"); }), ContainsSubstring("redisReconnect"));
  REQUIRE(redisReconnect(context.get()) == REDIS_OK);
  cache.set("key", "value");
  CHECK(cache.get("key") == "value");
  CHECK(cache.erase("key"));
}

TEST_CASE("a server that is not there is an error of the call, not of the constructor") {
  SECTION("no socket at that path") {
    RedisCache cache("unix:///nonexistent/redis.sock");
    CHECK_THAT(message_of<ConnectionError>([&] { cache.get("key"); }), ContainsSubstring("/nonexistent/redis.sock"));
    CHECK_THROWS_AS(cache.set("key", "value"), ConnectionError);
    CHECK_THROWS_AS(cache.get_many({"a", "b"}), ConnectionError);
    CHECK_THROWS_AS(cache.clear(), ConnectionError);
    CHECK_NOTHROW(cache.close());
  }
  SECTION("nobody listens at that port") {
    const larder::testing::ReservedPort nobody;
    const std::string where = "127.0.0.1:" + std::to_string(nobody.address().port);
    RedisCache cache("redis://user:s3cr3t@" + where);
    const std::string message = message_of<ConnectionError>([&] { cache.get("key"); });
    CHECK_THAT(message, ContainsSubstring(where) && ContainsSubstring("refused"));
  }
}

TEST_CASE("a wrong password is the server's error, and the right one ends it") {
  Databases databases;
  User user;
  RedisCache cache(redis_url("db=2", "larder:s3cr3t2@"), "mine:");
  CHECK(code_of([&] { cache.get("key"); }) == "WRONGPASS");
  CHECK(code_of([&] { cache.set("key", "value"); }) == "WRONGPASS");
  databases.probe("ACL", "SETUSER", "larder", ">s3cr3t2");
  CHECK(eventually([&] {
    try {
      cache.set("key", "value");
      return true;
    } catch (const ServerError&) {
      return false;
    }
  }));
  CHECK(cache.get("key") == "value");
}

TEST_CASE("a password for a server without one, and a database that is not there, are the server's errors") {
  RedisCache needless(redis_url({}, ":s3cr3t@"));
  CHECK_THAT(message_of<ServerError>([&] { needless.get("key"); }), ContainsSubstring("AUTH"));
  RedisCache out_of_range(redis_url("db=99999"));
  CHECK_THAT(message_of<ServerError>([&] { out_of_range.get("key"); }), ContainsSubstring("DB index"));
}

TEST_CASE("a bad URL, and no client, are refused by the constructor") {
  CHECK_THAT(message_of<InvalidArgument>([] { RedisCache("redis://u:s3cr3t@h:x"); }), ContainsSubstring("port"));
  CHECK_THAT(message_of<InvalidArgument>([] { RedisCache("redis://h?tiemout=1s"); }), ContainsSubstring("tiemout"));
  CHECK_THAT(message_of<InvalidArgument>([] { RedisCache(std::shared_ptr<larder::redis::Client>()); }),
             ContainsSubstring("client"));
}
