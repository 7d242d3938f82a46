// Scripted nodes, which say what no sane cluster says.

#include <larder/redis/cluster.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/answering_server.hpp"
#include "support/catch.hpp"
#include "support/faults.hpp"
#include "support/testing.hpp"

using larder::RedisCache;
using larder::redis::Cluster;
using larder::redis::Options;
using larder::redis::detail::slot_of;
using larder::testing::AnsweringServer;
using larder::testing::bulk;
using larder::testing::message_of;
using larder::testing::Words;
using namespace std::chrono_literals;
using Bytes = std::optional<std::string>;

namespace {

struct Row {
  int first, last;
  std::string host;  // "nil": none
  int port;
};

std::string map_of(const std::vector<Row>& rows) {
  std::string bytes = "*" + std::to_string(rows.size()) + "\r\n";
  for (const Row& row : rows) {
    bytes += "*3\r\n:" + std::to_string(row.first) + "\r\n:" + std::to_string(row.last) + "\r\n*3\r\n";
    bytes += (row.host == "nil" ? "$-1\r\n" : bulk(row.host)) + ":" + std::to_string(row.port) + "\r\n" + bulk("id");
  }
  return bytes;
}
std::string whole_map(const AnsweringServer& owner) { return map_of({{0, 16383, "127.0.0.1", owner.port()}}); }

std::string redirect(const char* code, std::string_view key, const std::string& to) {
  return std::string("-") + code + " " + std::to_string(slot_of(key)) + " " + to + "\r\n";
}
std::string moved(std::string_view key, const std::string& to) { return redirect("MOVED", key, to); }
std::string ask(std::string_view key, const std::string& to) { return redirect("ASK", key, to); }

bool is(const Words& words, std::string_view name) { return words.front() == name; }

/// A node that has all keys.
Bytes serve(const Words& words) {
  if (is(words, "GET")) return bulk(larder::testing::value_of(words[1]));
  if (is(words, "SET")) return "+OK\r\n";
  if (is(words, "ASKING")) return "+OK\r\n";
  if (is(words, "CLUSTER")) return map_of({});
  return AnsweringServer::usual(words);
}

Options options() {
  Options options;
  options.connect_timeout = 300ms;
  options.command_timeout = 700ms;
  return options;
}
constexpr auto budget = 1000ms;

std::shared_ptr<Cluster> cluster(std::vector<std::string> seeds, const Options& given = options()) {
  return std::make_shared<Cluster>(std::move(seeds), given);
}

/// No server listens there.
std::string nowhere() {
  larder::testing::Address address;
  larder::testing::listen_on(address).close();
  return "127.0.0.1:" + std::to_string(address.port);
}

}  // namespace

TEST_CASE("MOVED is followed, remembered, and makes one caller ask for the map") {
  AnsweringServer owner(serve), other(serve);
  owner.answer_with([&](const Words& words) { return is(words, "CLUSTER") ? Bytes(whole_map(owner)) : serve(words); });
  std::atomic<bool> has_moved{false};
  other.answer_with([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return whole_map(has_moved ? owner : other);
    return has_moved && is(words, "GET") ? moved(words[1], owner.address()) : serve(words);
  });
  RedisCache cache(cluster({other.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(owner.count("GET") == 0);
  has_moved = true;
  for (int i = 0; i < 10; ++i) CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(other.count("GET") == 2);  // before it moved, and once after
  CHECK(owner.count("GET") == 10);
  const bool learned = larder::testing::eventually([&] {
    CHECK(cache.get("another key") == larder::testing::value_of("another key"));
    return other.count("CLUSTER") >= 2;
  });
  CHECK(learned);
  const auto before = other.count("GET");
  CHECK(cache.get("a third key") == larder::testing::value_of("a third key"));
  CHECK(other.count("GET") == before);
  CHECK(other.count("CLUSTER") == 2);
}

TEST_CASE("the host of a redirect may be a name, or nothing: then it is that of the node which answers") {
  const std::string host = GENERATE("localhost", "", "?");
  AnsweringServer owner(serve);
  AnsweringServer other([&](const Words& words) -> Bytes {
    if (is(words, "GET")) return moved(words[1], host + ":" + std::to_string(owner.port()));
    return serve(words);
  });
  RedisCache cache(cluster({other.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(other.count("GET") == 1);
}

TEST_CASE("the host of a primary in the map may be nothing: then it is that of the node which tells") {
  const std::string host = GENERATE("localhost", "", "?", "nil");
  AnsweringServer owner(serve);
  AnsweringServer other([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return map_of({{0, 16383, host, owner.port()}});
    return serve(words);
  });
  RedisCache cache(cluster({other.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(other.count("GET") == 0);
}

TEST_CASE("ASK is followed for one command, and not remembered") {
  std::vector<std::string> seen;  // by one connection at a time
  AnsweringServer target([&](const Words& words) {
    seen.push_back(words.front());
    return serve(words);
  });
  AnsweringServer source([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return whole_map(source);
    return is(words, "GET") || is(words, "SET") ? ask(words[1], target.address()) : serve(words);
  });
  RedisCache cache(cluster({source.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(cache.add("key", "value"));
  CHECK(source.count("GET") == 1);
  CHECK(source.count("SET") == 1);
  seen.erase(std::remove(seen.begin(), seen.end(), "PING"), seen.end());
  CHECK(seen == std::vector<std::string>{"ASKING", "GET", "ASKING", "SET"});
}

TEST_CASE("a node that may not be asked with ASKING says so") {
  AnsweringServer target([](const Words& words) -> Bytes {
    return is(words, "ASKING") ? "-NOPERM this user has no permissions to run the 'asking' command\r\n" : serve(words);
  });
  AnsweringServer source(
      [&](const Words& words) -> Bytes { return is(words, "GET") ? ask(words[1], target.address()) : serve(words); });
  RedisCache cache(cluster({source.address()}));
  CHECK(larder::testing::code_of([&] { cache.get("key"); }) == "NOPERM");
}

TEST_CASE("nodes that pass a command on forever are asked a few times") {
  std::array<std::string, 2> addresses;
  std::size_t next = GENERATE(0U, 1U);  // each to itself, or each to the other
  const char* const code = GENERATE("MOVED", "ASK");
  std::vector<std::unique_ptr<AnsweringServer>> nodes;
  for (std::size_t i = 0; i < 2; ++i) {
    nodes.push_back(std::make_unique<AnsweringServer>([&, i](const Words& words) -> Bytes {
      return is(words, "GET") || is(words, "SET") ? redirect(code, words[1], addresses[(i + next) % 2]) : serve(words);
    }));
    addresses[i] = nodes[i]->address();
  }
  RedisCache cache(cluster({addresses[0]}));
  larder::testing::within(budget, [&] { CHECK(larder::testing::code_of([&] { cache.get("a key"); }) == code); });
  CHECK(nodes[0]->count("GET") + nodes[1]->count("GET") == 6);
  larder::testing::within(budget, [&] { CHECK(larder::testing::code_of([&] { cache.add("a key", "v"); }) == code); });
}

TEST_CASE("a redirect that makes no sense is the server's error") {
  const std::string bytes = GENERATE("-MOVED\r\n", "-MOVED 1 127.0.0.1\r\n", "-MOVED 16384 127.0.0.1:1\r\n",
                                     "-ASK 1 h:99999\r\n", "-MOVED x y:z\r\n");
  AnsweringServer node([&](const Words& words) { return is(words, "GET") ? Bytes(bytes) : serve(words); });
  RedisCache cache(cluster({node.address()}));
  const std::string message = message_of<larder::ServerError>([&] { cache.get("key"); });
  CHECK_THAT(message, Catch::Matchers::StartsWith(bytes.substr(1, bytes.size() - 3)));
  CHECK(node.count("GET") == 1);
}

TEST_CASE("a redirect to where nobody answers ends within the budget, and names the node, not the key") {
  const std::string hole = nowhere();
  const char* const code = GENERATE("MOVED", "ASK");
  AnsweringServer node([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return whole_map(node);
    return is(words, "GET") ? redirect(code, words[1], hole) : serve(words);
  });
  RedisCache cache(cluster({node.address()}));
  std::string message;
  larder::testing::within(budget,
                          [&] { message = message_of<larder::ConnectionError>([&] { cache.get("s3cr3t key"); }); });
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring(hole));
}

TEST_CASE("a map that makes no sense is not believed, the next node is asked") {
  const std::string garbage = GENERATE_COPY(
      map_of({}), map_of({{0, 16383, "127.0.0.1", 0}}), map_of({{-1, 16383, "127.0.0.1", 1}}),
      map_of({{0, 16384, "127.0.0.1", 1}}), map_of({{0, 100, "127.0.0.1", 1}, {100, 16383, "127.0.0.1", 1}}),
      map_of({{0, 16383, std::string(65536, 'h'), 1}}), std::string("*1\r\n*0\r\n"), std::string("*-1\r\n"),
      std::string(":1\r\n"), std::string("-ERR no\r\n"), std::string("-NOPERM no\r\n"));
  AnsweringServer good(
      [&](const Words& words) { return is(words, "CLUSTER") ? Bytes(whole_map(good)) : serve(words); });
  AnsweringServer bad([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return garbage;
    return is(words, "GET") ? moved(words[1], good.address()) : serve(words);
  });
  RedisCache cache(cluster({bad.address(), good.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(cache.get("another key") == larder::testing::value_of("another key"));
  CHECK(bad.count("GET") == 0);
}

TEST_CASE("without any map the redirects lead to the owners, and the map is asked for now and then") {
  AnsweringServer owner(serve);
  AnsweringServer other(
      [&](const Words& words) -> Bytes { return is(words, "GET") ? moved(words[1], owner.address()) : serve(words); });
  RedisCache cache(cluster({other.address()}));
  const auto begin = larder::testing::Clock::now();
  std::size_t calls = 0;
  for (; larder::testing::Clock::now() < begin + 1s; ++calls) {
    const std::string key = larder::testing::key(calls % 20);
    REQUIRE(cache.get(key) == larder::testing::value_of(key));
  }
  CHECK(calls > 20);
  CHECK(other.count("GET") == 20);
  CHECK(owner.count("CLUSTER") + other.count("CLUSTER") <= 11);
  CHECK(owner.count("CLUSTER") + other.count("CLUSTER") >= 3);
}

TEST_CASE("however many threads are passed on, one of them asks for the map") {
  AnsweringServer owner(serve);
  AnsweringServer other([&](const Words& words) -> Bytes {  // lies: what it tells is as wrong as before
    if (is(words, "CLUSTER")) return whole_map(other);
    return is(words, "GET") ? moved(words[1], owner.address()) : serve(words);
  });
  RedisCache cache(cluster({other.address()}));
  const auto begin = larder::testing::Clock::now();
  larder::testing::in_threads(16, [&](const std::string& me) {
    for (std::size_t turn = 0; larder::testing::Clock::now() < begin + 1s; ++turn) {
      const std::string key = me + " " + std::to_string(turn % 100);
      if (cache.get(key) != larder::testing::value_of(key)) throw std::runtime_error("a wrong value");
    }
  });
  CHECK(other.count("CLUSTER") + owner.count("CLUSTER") <= 11);
}

TEST_CASE("a node that is gone is asked no more once another one tells who has its slots") {
  AnsweringServer owner(
      [&](const Words& words) { return is(words, "CLUSTER") ? Bytes(whole_map(owner)) : serve(words); });
  AnsweringServer guide(serve);
  const std::string hole = nowhere();
  std::atomic<bool> is_there{true};
  guide.answer_with([&](const Words& words) -> Bytes {
    if (!is(words, "CLUSTER")) return serve(words);
    return is_there ? map_of({{0, 16383, "127.0.0.1", std::stoi(hole.substr(10))}}) : whole_map(owner);
  });
  RedisCache cache(cluster({guide.address()}));
  CHECK_THROWS_AS(cache.get("key"), larder::ConnectionError);
  is_there = false;
  std::this_thread::sleep_for(200ms);  // when the map may be asked for again
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(cache.add("key", "value"));
}

TEST_CASE("slots that nobody serves are an error, and are found when somebody does") {
  AnsweringServer owner(
      [&](const Words& words) { return is(words, "CLUSTER") ? Bytes(whole_map(owner)) : serve(words); });
  std::atomic<bool> is_served{false};
  AnsweringServer node([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return is_served ? whole_map(owner) : map_of({{1, 2, "", node.port()}});
    return is(words, "GET") ? Bytes("-CLUSTERDOWN Hash slot not served\r\n") : serve(words);
  });
  RedisCache cache(cluster({node.address()}));
  larder::testing::within(20ms, [&] { CHECK(larder::testing::code_of([&] { cache.get("key"); }) == "CLUSTERDOWN"); });
  is_served = true;
  std::this_thread::sleep_for(200ms);  // when the map may be asked for again
  CHECK(cache.get("key") == larder::testing::value_of("key"));
}

TEST_CASE("a map that is slow to come keeps nobody past his budget") {
  std::atomic<bool> is_slow{false};
  AnsweringServer owner(serve);
  AnsweringServer other([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return is_slow ? Bytes("") : whole_map(other);
    return is_slow && is(words, "GET") ? moved(words[1], owner.address()) : serve(words);
  });
  RedisCache cache(cluster({other.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  is_slow = true;
  std::this_thread::sleep_for(200ms);
  larder::testing::Load load(
      4,
      [&](larder::testing::Tally& tally, std::size_t thread, std::size_t turn) {
        tally.get(cache, std::to_string(thread) + " " + std::to_string(turn), budget);
      },
      200);
  const auto tally = load.join();
  larder::testing::check(tally);
}

TEST_CASE("a call that has no map keeps to one budget, though nobody answers") {
  AnsweringServer node([&](const Words& words) {
    return is(words, "CLUSTER") || is(words, "GET") ? Bytes("") : AnsweringServer::usual(words);
  });
  RedisCache cache(cluster({node.address()}));
  std::vector<std::chrono::nanoseconds> times;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string message = message_of<larder::ConnectionError>([&] { cache.get("s3cr3t"); });
    times.push_back(std::chrono::steady_clock::now() - begin);
    CHECK_THAT(message, Catch::Matchers::ContainsSubstring(node.address() + ": ") &&
                            Catch::Matchers::ContainsSubstring(": no answer within "));
  }
  std::this_thread::sleep_for(200ms);                       // when the map may be asked for again
  larder::testing::in_threads(4, [&](const std::string&) {  // one asks, the others wait for the answer
    const std::string reason = message_of<larder::TimeoutError>([&] { cache.get("s3cr3t"); });
    if (reason.find(node.address() + ": ") == std::string::npos) throw std::runtime_error(reason);
  });
  const std::string message = message_of<larder::ConnectionError>([&] { cache.clear(); });
  CHECK_THAT(message, Catch::Matchers::StartsWith("no node of the cluster tells its map; " + node.address() + ": "));
  CHECK_THAT(message, !Catch::Matchers::ContainsSubstring("unknown"));
  std::sort(times.begin(), times.end());
  CHECK(times[2] < budget + 300ms);  // with a second budget after the first: 1700 ms
}

TEST_CASE("servers that form no cluster are refused") {
  AnsweringServer one([](const Words& words) {
    return is(words, "CLUSTER") ? Bytes("-ERR This instance has cluster support disabled\r\n") : serve(words);
  });
  RedisCache cache(cluster({one.address(), nowhere()}));
  for (int i = 0; i < 3; ++i) {
    const std::string message = message_of<larder::ConnectionError>([&] { cache.get("key"); });
    CHECK_THAT(message, Catch::Matchers::StartsWith(one.address() + ": the server is no node of a cluster"));
  }
  CHECK_THROWS_AS(cache.set("key", "value"), larder::ConnectionError);
  CHECK(one.count("GET") + one.count("SET") == 0);
}

TEST_CASE("a change whose outcome is not known is not sent again") {
  AnsweringServer owner(serve);
  AnsweringServer node([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return whole_map(node.count("SET") == 0 ? node : owner);
    if (is(words, "SET")) return std::nullopt;
    return serve(words);
  });
  RedisCache cache(cluster({node.address()}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  const std::string message = message_of<larder::ConnectionError>([&] { cache.add("key", "value"); });
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring("outcome is unknown"));
  CHECK(node.count("SET") == 1);
  CHECK(owner.count("SET") == 0);
}

TEST_CASE("a node that hangs is named, whatever else has to be done: its key is not") {
  AnsweringServer hung([](const Words& words) -> Bytes { return is(words, "GET") ? "" : serve(words); });
  const int slot = static_cast<int>(slot_of("s3cr3t 0"));
  AnsweringServer other([&](const Words& words) -> Bytes {
    if (is(words, "GET")) return moved(words[1], other.address());
    if (!is(words, "CLUSTER")) return serve(words);
    return map_of({{slot, slot, "127.0.0.1", hung.port()}, {slot + 1, 16383, "127.0.0.1", other.port()}});
  });
  const auto client = cluster({other.address()});
  const auto get = [](const char* key) { return larder::redis::Command("GET", larder::redis::Key{{}, key}); };
  const bool has_company = GENERATE(false, true);
  std::string message;
  larder::testing::within(budget, [&] {
    message = message_of<larder::TimeoutError>([&] {
      has_company ? (void)client->run({get("s3cr3t 1"), get("s3cr3t 0")}) : (void)client->run(get("s3cr3t 0"));
    });
  });
  CHECK_THAT(message, Catch::Matchers::StartsWith(hung.address() + ": GET: no answer within "));
}

TEST_CASE("when the time runs out on the way from node to node, the message names the next, and says what to look at") {
  AnsweringServer next(serve);
  AnsweringServer node(
      [&](const Words& words) -> Bytes { return is(words, "GET") ? moved(words[1], next.address()) : serve(words); });
  namespace detail = larder::redis::detail;
  detail::MapKeeper keeper({{{"127.0.0.1", node.port()}}, options()});
  const larder::redis::Command command("GET", larder::redis::Key{{}, "s3cr3t"});
  larder::redis::Reply reply;
  const auto now = std::chrono::steady_clock::now();
  detail::Delivery delivery(keeper, nullptr, &command, 1, &reply, now + 60s, now, nullptr);
  const std::string message = message_of<larder::TimeoutError>([&] { delivery.run(); });
  CHECK_THAT(message, Catch::Matchers::StartsWith(next.address() + ": GET: the time allowed ran out"));
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring("CLUSTER SLOTS"));
  CHECK(next.count("GET") == 0);
}

TEST_CASE("the outcome of a read is never called unknown, that of a change is") {
  AnsweringServer target([](const Words& words) { return is(words, "ASKING") ? std::nullopt : Bytes(serve(words)); });
  AnsweringServer node([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return whole_map(node);
    return is(words, "GET") || is(words, "SET") ? ask(words[1], target.address()) : serve(words);
  });
  RedisCache cache(cluster({node.address()}));
  const auto is_unknown = [&](auto call) {
    const auto message = message_of<larder::ConnectionError>(call);
    return message.find("outcome is unknown") != std::string::npos;
  };
  CHECK_FALSE(is_unknown([&] { cache.get("key"); }));
  CHECK(is_unknown([&] { cache.add("key", "value"); }));
}

TEST_CASE("a node that moved to another address is found there, though its name is the same") {
  AnsweringServer old(serve), fresh(serve);
  larder::testing::Proxy name({{}, old.port()}, larder::testing::Proxy::on_tcp);
  const std::string address = name.address().text();
  std::atomic<bool> has_moved{false};
  old.answer_with([&](const Words& words) -> Bytes {
    if (is(words, "CLUSTER")) return map_of({{0, 16383, "127.0.0.1", name.address().port}});
    return has_moved && is(words, "GET") ? moved(words[1], address) : serve(words);
  });
  RedisCache cache(cluster({address}));
  CHECK(cache.get("key") == larder::testing::value_of("key"));
  has_moved = true;
  name.lead_to({{}, fresh.port()});
  for (int i = 0; i < 10; ++i) CHECK(cache.get("key") == larder::testing::value_of("key"));
  CHECK(old.count("GET") == 2);
  CHECK(name.accepted() == 2);
}

TEST_CASE("a seed that hangs leaves time for the next") {
  AnsweringServer hung([](const Words& words) { return is(words, "CLUSTER") || is(words, "GET") ? "" : serve(words); });
  AnsweringServer good(
      [&](const Words& words) { return is(words, "CLUSTER") ? Bytes(whole_map(good)) : serve(words); });
  RedisCache cache(cluster({hung.address(), good.address()}));
  larder::testing::within(budget, [&] { CHECK(cache.get("key") == larder::testing::value_of("key")); });
  CHECK(hung.count("GET") == 0);
}

TEST_CASE("a command without a key goes to any node") {
  AnsweringServer node(
      [&](const Words& words) { return is(words, "CLUSTER") ? Bytes(whole_map(node)) : serve(words); });
  const auto client = cluster({node.address()});
  CHECK(client->run(larder::redis::Command("PING")).is_status());
  CHECK(client->run({larder::redis::Command("PING"), larder::redis::Command("PING")}).size() == 2);
}

TEST_CASE("a node that refuses connections does not keep commands from the other nodes") {
  const std::string refusal = GENERATE("-ERR max number of clients reached\r\n", "-BUSY Redis is busy\r\n");
  AnsweringServer full([&](const Words&) { return Bytes(refusal); }), other(serve), teller(serve);
  const std::string key_of_full = "a", key_of_other = "b";
  const auto middle = static_cast<int>((slot_of(key_of_full) + slot_of(key_of_other)) / 2);
  const bool is_full_first = slot_of(key_of_full) < slot_of(key_of_other);
  const int first = is_full_first ? full.port() : other.port(), second = is_full_first ? other.port() : full.port();
  teller.answer_with([&](const Words& words) {
    const auto map = map_of({{0, middle, "127.0.0.1", first}, {middle + 1, 16383, "127.0.0.1", second}});
    return is(words, "CLUSTER") ? Bytes(map) : serve(words);
  });
  RedisCache cache(cluster({teller.address()}));
  CHECK_THROWS_AS(cache.set_many({{key_of_full, "value"}, {key_of_other, "value"}}), larder::ServerError);
  CHECK(other.count("SET") == 1);
}
