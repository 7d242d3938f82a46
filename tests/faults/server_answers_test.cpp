// What a server in its right mind may answer: each a ServerError with its code, and the connection kept unless the
// server is the wrong one.

#include "support/faults.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::BatchError;
using larder::ConnectionError;
using larder::InvalidArgument;
using larder::RedisCache;
using larder::ServerError;

namespace {

constexpr const char* name = "larder-test";

larder::redis::Options one_connection(const RedisProcess& redis) {
  auto options = redis.options();
  options.connections = 1;
  options.client_name = name;
  return options;
}

std::set<std::string> connections(const RedisProcess& redis) {
  return redis.clients_with(" name=" + std::string(name) + " ");
}

// The code of the ServerError that a call ends with, within its time.
template <class Call>
std::string code_in_time(Call call) {
  const std::string code = code_of([&] { within(1s, call); });
  if (code != "no error") ++figures().errors;
  return code;
}

// The items that a batch was refused, as "index:code" each.
template <class Call>
std::string refusals_of(Call call) {
  std::string text;
  try {
    within(1s, call);
  } catch (const BatchError& error) {
    ++figures().errors;
    for (const auto& refusal : error.refusals()) {
      text += std::to_string(refusal.index) + ":" + refusal.message.substr(0, refusal.message.find(' ')) + " ";
    }
  }
  return text;
}

}  // namespace

TEST_CASE("OOM, WRONGTYPE and NOPERM: the connection is kept") {
  RedisProcess redis;
  redis.ask({"ACL", "SETUSER", "app", "on", ">secret", "~ours:*", "+@all"});
  auto options = one_connection(redis);
  options.username = "app";
  options.password = "secret";
  RedisCache cache(make_pool(options), "ours:");
  cache.set("a", value_of("a"));
  const auto before = connections(redis);
  REQUIRE(before.size() == 1);
  SECTION("OOM") {
    redis.ask({"CONFIG", "SET", "maxmemory", "1"});
    CHECK(code_in_time([&] { cache.set("b", value_of("b")); }) == "OOM");
    CHECK(code_in_time([&] { cache.add("b", value_of("b")); }) == "OOM");
    CHECK(refusals_of([&] { cache.set_many({{"b", "1"}, {"c", "2"}}); }) == "0:OOM 1:OOM ");
    CHECK(within(1s, [&] { return cache.get("a"); }) == value_of("a"));
    CHECK(within(1s, [&] { return cache.erase("a"); }));
    redis.ask({"CONFIG", "SET", "maxmemory", "0"});
  }
  SECTION("WRONGTYPE") {
    redis.ask({"RPUSH", "ours:list", "x"});
    CHECK(code_in_time([&] { cache.get("list"); }) == "WRONGTYPE");
  }
  SECTION("NOPERM") {
    redis.ask({"ACL", "SETUSER", "app", "resetkeys", "~ours:b", "~ours:d"});
    CHECK(code_in_time([&] { cache.get("a"); }) == "NOPERM");
    CHECK(refusals_of([&] { cache.set_many({{"b", "1"}, {"c", "2"}, {"d", "3"}}); }) == "1:NOPERM ");
  }
  within(1s, [&] { cache.set("b", value_of("b")); });
  CHECK(within(1s, [&] { return cache.get("b"); }) == value_of("b"));
  CHECK(connections(redis) == before);
  ++figures().faults;
}

TEST_CASE("READONLY: the connection is dropped, for another node may answer under this name") {
  RedisProcess redis;
  const auto options = one_connection(redis);
  RedisCache cache(make_pool(options));
  cache.set("a", value_of("a"));
  const auto before = connections(redis);
  const ReservedPort nobody;
  redis.ask({"REPLICAOF", "127.0.0.1", std::to_string(nobody.address().port)});
  SECTION("set") {
    CHECK(code_in_time([&] { cache.set("b", "1"); }) == "READONLY");
  }
  SECTION("set_many") {
    CHECK(refusals_of([&] { cache.set_many({{"b", "1"}, {"c", "2"}}); }) == "0:READONLY 1:READONLY ");
  }
  SECTION("erase_many") {
    CHECK(code_in_time([&] { cache.erase_many({"a", "b"}); }) == "READONLY");
  }
  CHECK(within(1s, [&] { return cache.get("a"); }) == value_of("a"));
  CHECK(connections(redis).size() == 1);
  CHECK(connections(redis) != before);
  redis.ask({"REPLICAOF", "NO", "ONE"});
  within(1s, [&] { cache.set("b", value_of("b")); });
  CHECK(redis.ask({"GET", "b"}) == value_of("b"));
  ++figures().faults;
}

TEST_CASE("MASTERDOWN: the connection is dropped") {
  RedisProcess redis;
  RedisCache cache(make_pool(one_connection(redis)));
  cache.set("a", value_of("a"));
  const ReservedPort nobody;
  redis.ask({"CONFIG", "SET", "replica-serve-stale-data", "no"});
  redis.ask({"REPLICAOF", "127.0.0.1", std::to_string(nobody.address().port)});
  CHECK(code_in_time([&] { cache.get("a"); }) == "MASTERDOWN");
  const auto before = connections(redis);
  CHECK(code_in_time([&] { cache.get("a"); }) == "MASTERDOWN");
  CHECK(connections(redis).size() == 1);
  CHECK(connections(redis) != before);
  redis.ask({"REPLICAOF", "NO", "ONE"});
  CHECK(within(1s, [&] { return cache.get("a"); }) == value_of("a"));
  ++figures().faults;
}

TEST_CASE("LOADING") {
  RedisProcess redis;
  fill(redis, 1000);
  redis.ask({"SAVE"});
  redis.kill();
  redis.add_options({"--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"});
  redis.start();
  RedisCache cache(make_pool(one_connection(redis)));
  CHECK(code_in_time([&] { cache.get(key(1)); }) == "LOADING");
  const auto before = connections(redis);
  CHECK(before.size() == 1);
  CHECK(refusals_of([&] { cache.set_many({{"b", "1"}, {"c", "2"}}); }) == "0:LOADING 1:LOADING ");
  const auto loaded = [&] { return redis.ask({"INFO", "persistence"}).find("\nloading:0") != std::string::npos; };
  REQUIRE(eventually(loaded));
  CHECK(within(1s, [&] { return cache.get(key(1)); }) == value_of(key(1)));
  CHECK(connections(redis) == before);
  ++figures().faults;
}

TEST_CASE("BUSY") {
  RedisProcess redis;
  RedisCache cache(make_pool(one_connection(redis)));
  cache.set("a", value_of("a"));
  redis.ask({"CONFIG", "SET", "lua-time-limit", "10"});
  std::thread script([&] { ask(*connect(redis.address()), {"EVAL", "while true do end", "0"}); });
  std::string code;
  CHECK(eventually([&] { return (code = code_in_time([&] { cache.get("a"); })) != "no error"; }));
  CHECK(code == "BUSY");
  RedisCache newcomer(make_pool(one_connection(redis)));
  CHECK(code_in_time([&] { newcomer.get("a"); }) == "BUSY");
  redis.ask({"SCRIPT", "KILL"});
  script.join();
  CHECK(within(1s, [&] { return cache.get("a"); }) == value_of("a"));
  CHECK(eventually([&] { return code_in_time([&] { newcomer.get("a"); }) == "no error"; }));
  ++figures().faults;
}

TEST_CASE("a user with no more than the commands that are needed") {
  const std::vector<std::string> needed = {"+get", "+set", "+mget", "+del", "+exists", "+pexpire", "+persist", "+scan"};
  RedisProcess redis;
  const auto allow_all_but = [&](const std::string& forbidden) {
    redis.ask({"ACL", "DELUSER", "app"});
    redis.ask({"ACL", "SETUSER", "app", "on", ">secret", "~app:*", "-@all"});
    for (const auto& command : needed) {
      if (command != forbidden) redis.ask({"ACL", "SETUSER", "app", command});
    }
  };
  auto options = redis.options();
  options.username = "app";
  options.password = "secret";
  RedisCache cache(make_pool(options), "app:");
  const auto do_everything = [&] {
    cache.set("a", value_of("a"));
    cache.get("a");
    static_cast<void>(cache.contains("a"));
    cache.touch("a", 100);
    cache.touch("a", std::nullopt);
    cache.add("a", "another");
    cache.get_many({"a", "b"});
    cache.set_many({{"a", "1"}, {"b", "2"}}, 100);
    cache.erase_many({"a", "c"});
    cache.erase("b");
    cache.clear();
  };
  allow_all_but("");
  CHECK(code_in_time(do_everything) == "no error");
  CHECK(redis.ask({"DBSIZE"}) == "0");
  for (const auto& command : needed) {
    INFO(command);
    allow_all_but(command);
    CHECK(code_in_time(do_everything) == "NOPERM");
  }
}

TEST_CASE("wrong password, no password, password too many") {
  constexpr const char* password = "hunter2-correct";
  constexpr const char* wrong = "hunter2-wrong";
  RedisProcess redis;
  auto options = redis.options();
  const auto code_with = [&](const std::string& username, const std::string& given) {
    options.username = username;
    options.password = given;
    RedisCache cache(make_pool(options));
    std::string message;
    try {
      within(whole_budget(options), [&] { cache.set("a", value_of("a")); });
      return std::string();
    } catch (const ServerError& error) {
      CHECK_THAT(error.what(), !ContainsSubstring("hunter2"));
      return error.code();
    }
  };
  CHECK(code_with("", wrong) == "ERR");  // a password that the server does not ask for
  redis.ask({"ACL", "SETUSER", "app", "on", std::string(">") + password, "~*", "+@all"});
  redis.ask({"CONFIG", "SET", "requirepass", password});
  redis.use_password(password);
  CHECK(code_with("", "") == "NOAUTH");
  CHECK(code_with("", wrong) == "WRONGPASS");
  CHECK(code_with("app", wrong) == "WRONGPASS");
  CHECK(code_with("app", "") == "WRONGPASS");
  CHECK(code_with("nobody", password) == "WRONGPASS");
  CHECK(code_with("", password).empty());
  CHECK(code_with("app", password).empty());
  ++figures().faults;
}

TEST_CASE("a server that does not know AUTH may repeat the password, but no message does") {
  RedisProcess redis({"--rename-command", "AUTH", ""});
  auto options = redis.options();
  options.password = "hunter2";
  RedisCache cache(make_pool(options));
  for (int i = 0; i < 2; ++i) {  // the attempt to connect, and what it left for the next call
    const auto message = failure_within<ServerError>(whole_budget(options), [&] { cache.get("a"); });
    CHECK_THAT(message, !ContainsSubstring("hunter2"));
    CHECK_THAT(message, ContainsSubstring("AUTH"));
  }
  ++figures().faults;
}

TEST_CASE("a pool recovers when its password becomes right") {
  RedisProcess redis;
  redis.ask({"ACL", "SETUSER", "app", "on", ">old", "~*", "+@all"});
  auto options = redis.options();
  options.username = "app";
  options.password = "new";
  RedisCache cache(make_pool(options));
  CHECK(code_in_time([&] { cache.get("a"); }) == "WRONGPASS");
  CHECK(code_in_time([&] { cache.get("a"); }) == "WRONGPASS");  // between attempts, for the same reason
  redis.ask({"ACL", "SETUSER", "app", ">new"});
  const auto begin = Clock::now();
  CHECK(eventually([&] { return code_in_time([&] { cache.get("a"); }) == "no error"; }));
  CHECK(Clock::now() - begin < 1s + slack);
  ++figures().faults;
}

TEST_CASE("a database that does not exist") {
  RedisProcess redis;
  auto options = redis.options();
  options.database = 99;
  RedisCache cache(make_pool(options));
  CHECK(code_in_time([&] { cache.get("a"); }) == "ERR");
  ++figures().faults;
}

TEST_CASE("no password is in any message") {
  const std::string password = "hunter2";
  RedisProcess redis;
  Proxy proxy(redis.address());
  redis.ask({"ACL", "SETUSER", "app", "on", ">" + password, "~*", "+@all"});
  std::vector<std::string> messages;
  const auto note = [&](auto call) {
    try {
      call();
      FAIL("the call did not fail");
    } catch (const larder::Error& error) {
      messages.push_back(error.what());
    }
  };
  for (const auto* rest : {"@127.0.0.1:port", "@127.0.0.1/database", "@127.0.0.1?x=1", "@127.0.0.1:1?connections=0",
                           "@h?command_timeout=5", "@", "", "/", "@@h", "@[::1", "@h:1:2", "%zz@h", "@h#x"}) {
    note([&] {
      RedisCache cache("redis://app:" + password + rest);
      cache.get("a");
    });
  }
  note([&] { RedisCache("rediss://app:" + password + "@127.0.0.1").get("a"); });
  note([&] { RedisCache cache("http://app:" + password + "@127.0.0.1"); });
  note([&] { RedisCache cache("redis://127.0.0.1/?password=" + password + "&password=" + password); });
  note([&] {
    RedisCache cache("unix://app:" + password + "@" + redis.dir() + "/nothing.sock");
    cache.get("a");
  });
  auto options = proxy.options();
  options.username = "app";
  options.password = password;
  options.command_timeout = options.connect_timeout = 50ms;
  proxy.be_silent();
  note([&] { RedisCache(make_pool(options)).get("a"); });
  proxy.be_silent(false);
  for (const std::size_t bytes : {0U, 1U, 5U, 30U}) {
    for (const auto direction : {Proxy::up, Proxy::down}) {
      proxy.cut_after(direction, bytes, Proxy::End::reset);
      try {
        RedisCache(make_pool(options)).get("a");
      } catch (const larder::Error& error) {
        messages.push_back(error.what());
      }
    }
  }
  redis.ask({"ACL", "SETUSER", "app", "off"});
  note([&] { RedisCache(make_pool(options)).get("a"); });
  CHECK(messages.size() > 15);
  for (const auto& message : messages) {
    CHECK_THAT(message, !ContainsSubstring(password));
    CHECK_FALSE(message.empty());
  }
  figures().faults += proxy.faults();
}

TEST_CASE("maxclients is reached") {
  const auto listen = GENERATE(RedisProcess::on_unix_socket, RedisProcess::on_both);
  RedisProcess redis({"--maxclients", "10"}, listen);
  fill(redis, 100);
  const auto& address = listen == RedisProcess::on_both ? redis.tcp_address() : redis.address();
  std::vector<Context> others;
  const auto occupy = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      others.push_back(connect(address));
      REQUIRE(text_of(*ask(*others.back(), {"PING"})) == "PONG");
    }
  };
  Proxy proxy(address);
  const auto options = proxy.options();
  RedisCache cache(make_pool(options));
  SECTION("before the first connection") {
    occupy(10);
    std::string message;
    try {
      within(whole_budget(options), [&] { cache.get(key(1)); });
    } catch (const ServerError& error) {
      message = error.what();
    } catch (const ConnectionError&) {
      message = "max number of clients";  // the server has closed before it could be asked, and nobody listened
    }
    CHECK_THAT(message, ContainsSubstring("max number of clients"));
    others.clear();
    const auto begin = Clock::now();
    CHECK(eventually([&] {
      Tally tally;
      return tally.get(cache, key(1), whole_budget(options));
    }));
    CHECK(Clock::now() - begin < 1s + slack);
  }
  SECTION("when the pool has some of its connections: it makes do with them") {
    occupy(8);
    REQUIRE(cache.get(key(1)) == value_of(key(1)));
    proxy.delay(1ms);  // so that it wants more
    Load load(16, [&](Tally& tally, std::size_t thread, std::size_t turn) {
      const std::vector<std::string> names = {key((thread * 13 + turn) % 100), key(turn % 100)};
      std::vector<std::optional<std::string>> values(names.size());
      tally.call(whole_budget(options), [&] { values = cache.get_many(names); });
      for (std::size_t i = 0; i < names.size(); ++i) tally.look_at(names[i], values[i]);
    });
    const auto is_rejected = [&] {
      return text_of(*ask(*others.front(), {"INFO", "stats"})).find("rejected_connections:0") == std::string::npos;
    };
    CHECK(eventually(is_rejected));
    const Tally tally = load.finish();
    check(tally);
    CHECK(tally.hits == 2 * tally.calls);
    others.clear();
  }
  ++figures().faults;
}
