#include <larder/redis_cache.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/recording_client.hpp"
#include "support/testing.hpp"

// RedisCache over clients of the tests' own, without a server.

using Catch::Matchers::ContainsSubstring;
using larder::InvalidArgument;
using larder::ProtocolError;
using larder::RedisCache;
using larder::redis::Reply;
using larder::testing::code_of;
using larder::testing::message_of;
using larder::testing::RecordingClient;
using namespace std::chrono_literals;
using Kind = Reply::Kind;
using Texts = std::vector<std::string>;

namespace {

std::string number(std::size_t i) { return std::to_string(i); }

/// Answers as an empty server would.
Reply empty_server(const std::string& words) {
  const std::string name = words.substr(0, words.find(' '));
  if (name == "SET") return Reply(Kind::status, "OK");
  if (name == "GET") return Reply();
  if (name == "SCAN") {
    Reply::Array page;
    page.emplace_back(Kind::string, "0");
    page.emplace_back(Reply::Array());
    return Reply(std::move(page));
  }
  if (name == "MGET") return Reply(Reply::Array(static_cast<std::size_t>(std::count(words.begin(), words.end(), ' '))));
  return Reply(std::int64_t{0});
}

struct Recorded {
  std::shared_ptr<RecordingClient> client = std::make_shared<RecordingClient>(empty_server);
  RedisCache cache{client, "p:"};
  Texts& exchanges = client->exchanges;
};

/// Does each thing that a cache can do.
const std::vector<std::pair<std::string, void (*)(RedisCache&)>> operations{
    {"get", [](RedisCache& cache) { cache.get("key"); }},
    {"set", [](RedisCache& cache) { cache.set("key", "value"); }},
    {"set, expired", [](RedisCache& cache) { cache.set("key", "value", 0); }},
    {"add", [](RedisCache& cache) { cache.add("key", "value"); }},
    {"touch", [](RedisCache& cache) { cache.touch("key", 60); }},
    {"touch, never", [](RedisCache& cache) { cache.touch("key", {}); }},
    {"contains", [](RedisCache& cache) { static_cast<void>(cache.contains("key")); }},
    {"erase", [](RedisCache& cache) { cache.erase("key"); }},
    {"clear", [](RedisCache& cache) { cache.clear(); }},
    {"get_many",
     [](RedisCache& cache) {
       cache.get_many({"a", "b"});
     }},
    {"set_many",
     [](RedisCache& cache) {
       cache.set_many({{"a", "1"}, {"b", "2"}});
     }},
    {"erase_many",
     [](RedisCache& cache) {
       cache.erase_many({"a", "b"});
     }},
};

Reply scan_page(const std::string& cursor, const Texts& keys) {
  Reply::Array names;
  for (const auto& key : keys) names.emplace_back(Kind::string, key);
  Reply::Array page;
  page.emplace_back(Kind::string, cursor);
  page.emplace_back(std::move(names));
  return Reply(std::move(page));
}

/// The commands of all exchanges, one by one.
Texts commands_of(const Texts& exchanges) {
  Texts commands;
  for (std::string exchange : exchanges) {
    for (std::size_t end; (end = exchange.find('\n')) != std::string::npos; exchange.erase(0, end + 1)) {
      commands.push_back(exchange.substr(0, end));
    }
    commands.push_back(exchange);
  }
  return commands;
}

}  // namespace

TEST_CASE("each call is one command, or one pipeline") {
  Recorded recorded;
  RedisCache& cache = recorded.cache;
  const auto sent = [&](auto call) {
    recorded.exchanges.clear();
    call();
    REQUIRE(recorded.exchanges.size() == 1);
    return recorded.exchanges.front();
  };
  CHECK(sent([&] { cache.get("k"); }) == "GET p:k");
  CHECK(sent([&] { cache.set("k", "v"); }) == "SET p:k v");
  CHECK(sent([&] { cache.set("k", "v", 60); }) == "SET p:k v PX 60000");
  CHECK(sent([&] { cache.set("k", "v", 1ns); }) == "SET p:k v PX 1");
  CHECK(sent([&] { cache.set("k", "v", 1500us); }) == "SET p:k v PX 2");
  CHECK(sent([&] { cache.set("k", "v", std::chrono::duration<double>(0.25)); }) == "SET p:k v PX 250");
  CHECK(sent([&] { cache.set("k", "v", -5); }) == "DEL p:k");
  CHECK(sent([&] { cache.add("k", "v"); }) == "SET p:k v NX");
  CHECK(sent([&] { cache.add("k", "v", 1min); }) == "SET p:k v PX 60000 NX");
  CHECK(sent([&] { cache.touch("k", 500ms); }) == "PEXPIRE p:k 500");
  CHECK(sent([&] { cache.touch("k", {}); }) == "EXISTS p:k\nPERSIST p:k");
  CHECK(sent([&] { cache.touch("k", 0); }) == "DEL p:k");
  CHECK(sent([&] { static_cast<void>(cache.contains("k")); }) == "EXISTS p:k");
  CHECK(sent([&] { cache.erase("k"); }) == "DEL p:k");
  CHECK(sent([&] { cache.get_many({"a", "b", "a"}); }) == "MGET p:a p:b p:a");
  CHECK(sent([&] { cache.set_many({{"a", "1"}, {"b", "2"}}); }) == "SET p:a 1\nSET p:b 2");
  CHECK(sent([&] { cache.set_many({{"a", "1"}, {"b", "2"}}, 5s); }) == "SET p:a 1 PX 5000\nSET p:b 2 PX 5000");
  CHECK(sent([&] { cache.set_many({{"a", "1"}, {"b", "2"}}, 0); }) == "DEL p:a p:b");
  CHECK(sent([&] { cache.erase_many({"a", "b", "a"}); }) == "DEL p:a p:b p:a");
  CHECK(sent([&] { cache.clear(); }) == "SCAN 0 MATCH p:* COUNT 1000");
}

TEST_CASE("nothing is sent where there is nothing to do, or too much") {
  Recorded recorded;
  RedisCache& cache = recorded.cache;
  cache.close();
  CHECK(cache.get_many({}).empty());
  cache.set_many({});
  CHECK(cache.erase_many(Texts()) == 0);
  CHECK_FALSE(cache.add("key", "value", 0));

  const larder::testing::TooLong much;
  const std::string_view longest = much.text().substr(1);  // but not with the prefix
  CHECK_THROWS_AS(cache.set("key", much.text()), InvalidArgument);
  CHECK_THROWS_AS(cache.set_many({{"a", "1"}, {"b", much.text()}}), InvalidArgument);
  for (const auto key : {much.text(), longest}) {
    CHECK_THROWS_AS(cache.get(key), InvalidArgument);
    CHECK_THROWS_AS(cache.set(key, "value"), InvalidArgument);
    CHECK_THROWS_AS(cache.set(key, "value", 0), InvalidArgument);
    CHECK_THROWS_AS(cache.add(key, "value"), InvalidArgument);
    CHECK_THROWS_AS(cache.touch(key, 60), InvalidArgument);
    CHECK_THROWS_AS(cache.touch(key, {}), InvalidArgument);
    CHECK_THROWS_AS(cache.contains(key), InvalidArgument);
    CHECK_THROWS_AS(cache.erase(key), InvalidArgument);
    CHECK_THROWS_AS(cache.get_many({"key", key}), InvalidArgument);
    CHECK_THROWS_AS(cache.set_many({{"key", "value"}, {key, "value"}}), InvalidArgument);
    CHECK_THROWS_AS(cache.erase_many({"key", key}), InvalidArgument);
  }
  CHECK(recorded.exchanges.empty());
  CHECK_THAT(message_of<InvalidArgument>([&] { cache.get(longest); }), ContainsSubstring("512 MiB"));

  CHECK(cache.get("key") == std::nullopt);
  CHECK(recorded.exchanges == Texts{"GET p:key"});
}

TEST_CASE("only add must not be sent twice") {
  for (const auto& [name, operation] : operations) {
    CAPTURE(name);
    Recorded recorded;
    operation(recorded.cache);
    REQUIRE_FALSE(recorded.client->repeatable.empty());
    for (const bool repeatable : recorded.client->repeatable) CHECK(repeatable == (name != "add"));
  }
}

TEST_CASE("a large batch goes out in pieces that keep nobody waiting") {
  Recorded recorded;
  Texts keys;
  std::map<std::string, std::string> items;
  for (std::size_t i = 0; i < 10'000; ++i) {
    keys.push_back(number(i));
    items.emplace(number(i), "value");
  }
  const auto check = [&](const std::string& name, std::size_t most_per_command) {
    std::set<std::string> seen;
    for (const auto& exchange : recorded.exchanges) CHECK(exchange.size() < 100'000);
    for (const auto& command : commands_of(recorded.exchanges)) {
      REQUIRE(command.compare(0, name.size() + 1, name + " ") == 0);
      REQUIRE(static_cast<std::size_t>(std::count(command.begin(), command.end(), ' ')) <= most_per_command);
      for (std::size_t at = command.find(" p:"); at != std::string::npos; at = command.find(" p:", at + 1)) {
        const std::string key = command.substr(at + 3, command.find(' ', at + 1) - at - 3);
        REQUIRE(seen.insert(key).second);
      }
    }
    CHECK(seen.size() == keys.size());
    CHECK(recorded.exchanges.size() > 1);
    recorded.exchanges.clear();
  };
  CHECK(recorded.cache.get_many(keys).size() == keys.size());
  check("MGET", 1000);
  recorded.cache.erase_many(keys);
  check("DEL", 1000);
  recorded.cache.set_many(items, 60);
  check("SET", 4);
}

TEST_CASE("clear scans with an escaped pattern, and deletes a page at a time what begins with the prefix") {
  std::map<std::string, Reply> pages;
  const std::string prefix = "a*b[c]?\\:";
  const auto client = std::make_shared<RecordingClient>([&](const std::string& words) {
    if (words.compare(0, 7, "SCAN 0 ") == 0) return scan_page("17", {prefix + "1", prefix + "2", "axb[c]x\\:3"});
    if (words.compare(0, 8, "SCAN 17 ") == 0) return scan_page("18446744073709551615", {});
    if (words.compare(0, 26, "SCAN 18446744073709551615 ") == 0) return scan_page("0", {prefix + "2", prefix});
    return Reply(std::int64_t{1});
  });
  RedisCache cache(client, prefix);
  cache.clear();

  Texts scans, deletions;
  for (const auto& command : commands_of(client->exchanges)) {
    (command.compare(0, 5, "SCAN ") == 0 ? scans : deletions).push_back(command);
  }
  const std::string pattern = " MATCH a\\*b\\[c\\]\\?\\\\:* COUNT 1000";
  CHECK(scans == Texts{"SCAN 0" + pattern, "SCAN 17" + pattern, "SCAN 18446744073709551615" + pattern});
  CHECK(deletions == Texts{"DEL " + prefix + "1 " + prefix + "2", "DEL " + prefix + "2 " + prefix});
}

TEST_CASE("clear is done on every primary, by a client that has several") {
  class Cluster : public RecordingClient {
   public:
    Cluster() : RecordingClient([](const std::string&) -> Reply { throw std::logic_error("not a node"); }) {}

    RecordingClient nodes[2] = {RecordingClient(node), RecordingClient(node)};

   private:
    void do_for_each_primary(void (*visit)(Client& node, void* argument), void* argument) override {
      for (auto& node : nodes) visit(node, argument);
    }
    static Reply node(const std::string& words) {
      return words.compare(0, 4, "SCAN") == 0 ? scan_page("0", {"p:1"}) : Reply(std::int64_t{1});
    }
  };
  const auto cluster = std::make_shared<Cluster>();
  RedisCache(cluster, "p:").clear();
  for (const auto& node : cluster->nodes) {
    CHECK(commands_of(node.exchanges) == Texts{"SCAN 0 MATCH p:* COUNT 1000", "DEL p:1"});
  }
}

TEST_CASE("clear begins anew when the server may be another one, and does not end before a scan without that") {
  std::vector<std::size_t> changes_at;  // numbers of SCANs
  std::size_t scans = 0;
  std::shared_ptr<RecordingClient> client;
  client = std::make_shared<RecordingClient>([&](const std::string& words) {
    if (words.compare(0, 4, "SCAN") != 0) return Reply(std::int64_t{1});
    if (std::count(changes_at.begin(), changes_at.end(), scans++) != 0) ++client->generations;
    return words.compare(0, 7, "SCAN 0 ") == 0 ? scan_page("17", {"p:1"}) : scan_page("0", {"p:2"});
  });
  RedisCache cache(client, "p:");
  const auto cursors = [&] {
    std::string all;
    for (const auto& command : commands_of(client->exchanges)) {
      if (command.compare(0, 5, "SCAN ") == 0) all += command.substr(5, command.find(' ', 5) - 4);
    }
    return all;
  };
  SECTION("no change") {
    cache.clear();
    CHECK(cursors() == "0 17 ");
  }
  SECTION("in the middle") {
    changes_at = {0};
    cache.clear();
    CHECK(cursors() == "0 0 17 ");
    CHECK(commands_of(client->exchanges)[1] == "DEL p:1");
  }
  SECTION("at the end, twice") {
    changes_at = {1, 3};
    cache.clear();
    CHECK(cursors() == "0 17 0 17 0 17 ");
  }
  SECTION("without end") {
    for (std::size_t i = 0; i < 1000; ++i) changes_at.push_back(i);
    CHECK_THROWS_AS(cache.clear(), larder::ConnectionError);
    CHECK(scans <= 20);
    CHECK(cache.stats().errors == 1);
  }
}

TEST_CASE("clear deletes few keys in one command") {
  Texts keys;
  for (std::size_t i = 0; i < 1000; ++i) keys.push_back("p:" + number(i));
  const auto client = std::make_shared<RecordingClient>([&](const std::string& words) {
    return words.compare(0, 4, "SCAN") == 0 ? scan_page("0", keys) : Reply(std::int64_t{1});
  });
  RedisCache(client, "p:").clear();
  std::size_t deleted = 0;
  for (const auto& command : commands_of(client->exchanges)) {
    if (command.compare(0, 4, "DEL ") != 0) continue;
    const auto count = static_cast<std::size_t>(std::count(command.begin(), command.end(), ' '));
    CHECK(count <= 128);
    deleted += count;
  }
  CHECK(deleted == keys.size());
}

namespace {

/// Two slots: the keys p:a… and all others.
class TwoSlots : public RecordingClient {
 public:
  using RecordingClient::RecordingClient;
  std::size_t slot(std::string_view prefix, std::string_view key) const override {
    return std::string(prefix).append(key).substr(0, 3) == "p:a" ? 7 : 0;
  }
};

}  // namespace

TEST_CASE("a command has keys of one slot") {
  const auto client = std::make_shared<TwoSlots>([](const std::string& words) {
    return words.compare(0, 4, "SCAN") == 0 ? scan_page("0", {"p:a1", "p:a2", "p:b", "p:a3"}) : empty_server(words);
  });
  RedisCache cache(client, "p:");
  CHECK(cache.get_many({"a1", "a2", "b", "c", "a3"}).size() == 5);
  CHECK(client->exchanges == Texts{"MGET p:a1 p:a2\nMGET p:b p:c\nMGET p:a3"});
  client->exchanges.clear();
  cache.clear();
  CHECK(client->exchanges == Texts{"SCAN 0 MATCH p:* COUNT 1000", "DEL p:a1 p:a2\nDEL p:b\nDEL p:a3"});
}

TEST_CASE("keys of a command that failed for one of them are tried one by one, all others' replies are used") {
  const std::string code = GENERATE("NOPERM", "CROSSSLOT", "TRYAGAIN");
  const auto client = std::make_shared<RecordingClient>([&](const std::string& words) {
    const bool is_one = std::count(words.begin(), words.end(), ' ') == 1;
    const bool is_bad = words.find(" p:bad") != std::string::npos;
    if (is_bad && (!is_one || code == "NOPERM")) return Reply(Kind::failure, code + " one of them");
    if (words.compare(0, 4, "DEL ") == 0) return Reply(std::int64_t{std::count(words.begin(), words.end(), ' ')});
    Reply::Array values;
    for (std::size_t at = words.find(' '); at != std::string::npos; at = words.find(' ', at + 1)) {
      values.emplace_back(Kind::string, "value of " + words.substr(at + 1, words.find(' ', at + 1) - at - 1));
    }
    return Reply(std::move(values));
  });
  RedisCache cache(client, "p:");
  Texts keys;
  for (std::size_t i = 0; i < 300; ++i) keys.push_back(i == 200 ? "bad" : number(i));
  std::vector<std::optional<std::string>> values;
  std::size_t erased = 300;
  if (code == "NOPERM") {
    try {
      cache.get_many(keys);
      FAIL("no error");
    } catch (const larder::BatchError& error) {
      REQUIRE(error.refusals().size() == 1);
      CHECK(error.refusals()[0].index == 200);
      CHECK(error.refusals()[0].message == "NOPERM one of them");
      CHECK(error.sent() == 300);
      values = error.values();
    }
    CHECK_THROWS_AS(erased = cache.erase_many(keys), larder::BatchError);
    CHECK(cache.stats().erases == 299);
    CHECK(cache.stats().errors == 2);
  } else {
    values = cache.get_many(keys);
    CHECK(cache.erase_many(keys) == 300);
    CHECK(cache.stats().errors == 0);
  }
  REQUIRE(values.size() == 300);
  for (std::size_t i = 0; i < 300; ++i) {
    if (i == 200 && code == "NOPERM") {
      CHECK(values[i] == std::nullopt);
    } else {
      REQUIRE(values[i] == "value of p:" + keys[i]);
    }
  }
  CHECK(client->exchanges.size() == 4);
}

TEST_CASE("only OK says that a value was stored") {
  RedisCache queued(std::make_shared<RecordingClient>([](const std::string&) { return Reply(Kind::status, "QUEUED"); }),
                    "p:");
  CHECK_THROWS_AS(queued.set("key", "value"), ProtocolError);
  CHECK_THROWS_AS(queued.add("key", "value"), ProtocolError);
  CHECK_THROWS_AS(queued.set_many({{"a", "1"}, {"b", "2"}}), ProtocolError);
  CHECK(queued.stats().sets == 0);
}

TEST_CASE("an entry is the time left, then the value, of one pipeline") {
  std::int64_t left = 0;
  const char* value = nullptr;
  const auto client = std::make_shared<RecordingClient>([&](const std::string& words) {
    if (words.compare(0, 5, "PTTL ") == 0) return Reply(left);
    return value ? Reply(Kind::string, value) : Reply();
  });
  RedisCache cache(client, "p:");
  const auto entry = [&](std::int64_t pttl, const char* got) {
    left = pttl;
    value = got;
    return cache.get_entry("k");
  };
  CHECK(entry(1500, "text")->time_left == 1500ms);
  CHECK(entry(1500, "text")->value == "text");
  CHECK(entry(0, "text")->time_left == 1ms);  // it was live, and 0 is no time for that
  CHECK(entry(-1, "text")->time_left == std::chrono::milliseconds::max());
  CHECK(entry(-2, "text")->time_left == std::nullopt);  // written in between
  CHECK(entry(-2, "text")->value == "text");
  CHECK(entry(1500, nullptr) == std::nullopt);  // expired in between
  CHECK(client->exchanges.front() == "PTTL p:k\nGET p:k");
  CHECK(cache.stats().hits == 6);
  CHECK(cache.stats().misses == 1);
}

TEST_CASE("a cache's own timeout is the deadline of each of its calls") {
  const auto client = std::make_shared<RecordingClient>(empty_server);
  RedisCache hasty(client, "p:", 20ms);
  RedisCache unhurried(client, "p:");
  for (const auto& [name, operation] : operations) {
    CAPTURE(name);
    client->deadlines.clear();
    const auto before = std::chrono::steady_clock::now();
    operation(hasty);
    const auto after = std::chrono::steady_clock::now();
    REQUIRE(client->deadlines.size() == 1);
    REQUIRE(client->deadlines[0]);
    CHECK(*client->deadlines[0] >= before + 20ms);
    CHECK(*client->deadlines[0] <= after + 20ms);
    operation(unhurried);
    CHECK(client->deadlines[1] == std::nullopt);
  }
  CHECK_THROWS_AS(RedisCache(client, "p:", 0ms), InvalidArgument);
  CHECK_THROWS_AS(RedisCache(client, "p:", -1ms), InvalidArgument);
  CHECK_THROWS_AS(RedisCache(client, "p:", std::chrono::hours(24 * 366)), InvalidArgument);
  CHECK_THROWS_AS(RedisCache(nullptr, "p:", 1ms), InvalidArgument);
}

TEST_CASE("a cache counts what came of its calls") {
  RedisCache cache(std::make_shared<RecordingClient>([&](const std::string& words) {
                     const std::string key = words.substr(words.find(' ') + 1);
                     if (words == "GET p:a") return Reply(Kind::string, "1");
                     if (words == "MGET p:a p:c p:b") {
                       return Reply(Reply::Array{Reply(Kind::string, "1"), Reply(), Reply(Kind::string, "2")});
                     }
                     if (words == "SET p:d v NX") return Reply();
                     if (words == "SET p:f v") return Reply(Kind::failure, "OOM no");
                     if (words == "DEL p:a") return Reply(std::int64_t{1});
                     if (words == "DEL p:a p:b p:c") return Reply(std::int64_t{2});
                     return empty_server(words);
                   }),
                   "p:");
  cache.get("a");
  cache.get("c");
  cache.get_many({"a", "c", "b"});
  cache.set("e", "v");
  cache.add("d", "v");
  cache.add("e", "v");
  CHECK_THROWS_AS(cache.set("f", "v"), larder::ServerError);
  CHECK_THROWS_AS(cache.set_many({{"e", "v"}, {"f", "v"}}), larder::BatchError);
  cache.erase("a");
  cache.erase("c");
  cache.set("a", "v", 0);
  cache.erase_many({"a", "b", "c"});
  static_cast<void>(cache.contains("a"));
  const larder::CacheStats stats = cache.stats();
  CHECK(stats.hits == 3);
  CHECK(stats.misses == 2);
  CHECK(stats.sets == 3);
  CHECK(stats.erases == 4);
  CHECK(stats.errors == 2);
  CHECK(stats.entries + stats.bytes + stats.evictions + stats.expirations + stats.refused == 0);
}

TEST_CASE("what a client throws passes through") {
  for (const auto& [name, operation] : operations) {
    CAPTURE(name);
    bool fails = true;
    const auto client = std::make_shared<RecordingClient>([&](const std::string& words) {
      if (fails) throw larder::TimeoutError("the time ran out");
      return empty_server(words);
    });
    RedisCache cache(client, "p:");
    CHECK_THROWS_AS(operation(cache), larder::TimeoutError);
    CHECK(client->exchanges.size() == 1);
    fails = false;
    CHECK_NOTHROW(operation(cache));
  }
}

TEST_CASE("a failure that a client answers with is a server's error") {
  for (const auto& [name, operation] : operations) {
    CAPTURE(name);
    const auto client = std::make_shared<RecordingClient>(
        [](const std::string&) { return Reply(Kind::failure, "LOADING Redis is loading the dataset in memory"); });
    RedisCache cache(client, "p:");
    CHECK(code_of([&, run = operation] { run(cache); }) == "LOADING");
    CHECK(client->exchanges.size() == 1);
  }
}

TEST_CASE("an answer of the wrong type is a protocol error, and one without memory is that") {
  const auto wrong = GENERATE(
      +[] { return Reply(Kind::string, "text"); }, +[] { return Reply(Kind::status, "OK"); },
      +[] { return Reply(std::int64_t{1}); }, +[] { return Reply(); }, +[] { return Reply(Reply::Array()); },
      +[] { return Reply(Reply::Array(7)); });
  const auto fits = [&](const std::string& name) {
    const Kind kind = wrong().kind();
    if (name == "get") return kind == Kind::string || kind == Kind::null;
    if (name == "set" || name == "set_many") return kind == Kind::status;
    if (name == "add") return kind == Kind::status || kind == Kind::null;
    return kind == Kind::integer && name != "clear" && name != "get_many";
  };
  for (const auto& [name, operation] : operations) {
    if (fits(name)) continue;
    CAPTURE(name, static_cast<int>(wrong().kind()));
    RedisCache cache(std::make_shared<RecordingClient>([&](const std::string&) { return wrong(); }), "p:");
    CHECK_THROWS_AS(operation(cache), ProtocolError);
    RedisCache lost(std::make_shared<RecordingClient>([](const std::string&) { return Reply(Kind::out_of_memory); }),
                    "p:");
    CHECK_THROWS_AS(operation(lost), std::bad_alloc);
  }
}
