// A peer that does not speak the protocol, or speaks it with malice.

#include <sys/mman.h>
#include <sys/resource.h>

#include <cstdint>

#include "support/faults.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::InvalidArgument;
using larder::ProtocolError;
using larder::RedisCache;
using larder::ServerError;
using larder::TimeoutError;

namespace {

constexpr std::size_t reply_limit = 1 << 20;

larder::redis::Options limited(const ScriptedServer& server) {
  auto options = server.options();
  options.max_reply_bytes = reply_limit;
  options.command_timeout = 10s;  // the limit ends the call, not the time
  return options;
}

std::string repeated(const std::string& unit, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += unit;
  return text;
}

/// The most memory that this process has had, in bytes.
std::size_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

/// Bytes that are never touched, and so need no memory.
class Nothing {
 public:
  explicit Nothing(std::size_t size)
      : size_(size), bytes_(::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    if (bytes_ == MAP_FAILED) throw_errno("mmap");
  }
  Nothing(const Nothing&) = delete;
  Nothing& operator=(const Nothing&) = delete;
  ~Nothing() { ::munmap(bytes_, size_); }
  std::string_view first(std::size_t size) const { return {static_cast<const char*>(bytes_), size}; }

 private:
  std::size_t size_;
  void* bytes_;
};

struct Answer {
  const char* what;
  std::string bytes;
};

}  // namespace

TEST_CASE("an answer to get that is not one is a ProtocolError, and the next call is right") {
  const std::vector<Answer> answers = {
      {"HTTP", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"},
      {"a TLS alert", std::string("\x15\x03\x01\x00\x02\x02\x28\r\n", 9)},
      {"text", "garbage\r\n"},
      {"an empty line", "\r\n"},
      {"a zero byte", std::string(1, '\0')},
      {"a string with a trailer too late", "$5\r\nhelloXX\r\n"},
      {"a string with half a trailer", "$5\r\nhello\rX"},
      {"a string with two newlines", "$5\r\nhello\n\n"},
      {"a string of negative length", "$-2\r\n"},
      {"a string whose length is a word", "$abc\r\n"},
      {"a string whose length ends in a word", "$5x\r\nhello\r\n"},
      {"a string of no length", "$\r\n\r\n"},
      {"a string longer than the limit", "$1048577\r\n"},
      {"a string of 2^31", "$2147483648\r\n"},
      {"a string of 2^63-1", "$9223372036854775807\r\n"},
      {"a string of 2^63", "$9223372036854775808\r\n"},
      {"a string of 2^64", "$18446744073709551616\r\n"},
      {"a string of far more", "$99999999999999999999999999999999\r\n"},
      {"an array of 2^31", "*2147483648\r\n"},
      {"an array of 2^31-1", "*2147483647\r\n"},
      {"an array of 2^32+1", "*4294967297\r\n"},
      {"an array of 2^63-1", "*9223372036854775807\r\n"},
      {"an array of negative length", "*-2\r\n"},
      {"an array of 2^31 in an array", "*1\r\n*2147483648\r\n"},
      {"300,000 levels of nesting", repeated("*1\r\n", 300'000)},
      {"eight levels of nesting", repeated("*1\r\n", 8) + bulk("x")},
      {"seven levels of nesting", repeated("*1\r\n", 7) + bulk("x")},
      {"an integer", ":1\r\n"},
      {"an integer that is a word", ":abc\r\n"},
      {"an integer of 2^64", ":18446744073709551616\r\n"},
      {"a status", "+OK\r\n"},
      {"an array", "*1\r\n" + bulk("x")},
      {"an empty array", "*0\r\n"},
      {"RESP3: null", "_\r\n"},
      {"RESP3: true", "#t\r\n"},
      {"RESP3: double", ",1.5\r\n"},
      {"RESP3: big number", "(12345678901234567890\r\n"},
      {"RESP3: verbatim", "=7\r\ntxt:abc\r\n"},
      {"RESP3: error", "!5\r\nERR x\r\n"},
      {"RESP3: map", "%1\r\n" + bulk("a") + bulk("b")},
      {"RESP3: set", "~1\r\n" + bulk("a")},
      {"RESP3: attribute", "|1\r\n" + bulk("a") + bulk("b") + bulk("x")},
      {"RESP3: push", ">2\r\n" + bulk("invalidate") + bulk("x")},
      {"RESP3: streamed string", "$?\r\n;5\r\nhello\r\n;0\r\n"},
  };
  for (const auto& [what, bytes] : answers) {
    INFO(what);
    Script liar = Script().greet().expect({"GET", "a"});
    bytes.size() < 10'000 ? liar.send(bytes).ignore() : liar.flood(bytes);
    ScriptedServer server(
        {liar, Script().greet().expect({"GET", "b"}).send(bulk(value_of("b"))).expect({"GET", "c"}).send("$-1\r\n")});
    const auto options = limited(server);
    RedisCache cache(make_pool(options));
    const auto before = peak_memory();
    failure_within<ProtocolError>(whole_budget(options), [&] { cache.get("a"); });
    if (!sanitized) CHECK(peak_memory() - before < 16 * reply_limit);
    CHECK(within(whole_budget(options), [&] { return cache.get("b"); }) == value_of("b"));
    CHECK(within(whole_budget(options), [&] { return cache.get("c"); }) == std::nullopt);
    CHECK(server.problem() == "");
    ++figures().faults;
  }
}

TEST_CASE("an answer without end needs no more memory than the limit says") {
  const std::string digits(100'000, '1'), strings = repeated(bulk("11111111"), 10'000);
  const std::vector<std::pair<std::string, std::string>> answers = {
      {"+", digits},
      {"-", digits},
      {":", digits},
      {"$", digits},
      {"*", digits},
      {"$1048500\r\n", digits},
      {"*300000\r\n", strings},
  };
  for (const auto& [begin, flood] : answers) {
    INFO(begin);
    ScriptedServer server({Script().greet().expect({"GET", "a"}).send(begin).flood(flood),
                           Script().greet().expect({"GET", "b"}).send(bulk(value_of("b")))});
    const auto options = limited(server);
    RedisCache cache(make_pool(options));
    const auto before = peak_memory();
    failure_within<ProtocolError>(whole_budget(options), [&] { cache.get("a"); });
    if (!sanitized) CHECK(peak_memory() - before < 16 * reply_limit);
    CHECK(within(whole_budget(options), [&] { return cache.get("b"); }) == value_of("b"));
    CHECK(server.problem() == "");
    ++figures().faults;
  }
}

TEST_CASE("what is announced and never sent takes time, and no memory") {
  const std::string announced =
      GENERATE(as<std::string>(), "$1000000000\r\n", "*300000000\r\n", "*7\r\n*300000000\r\n");
  ScriptedServer server({Script().greet().expect({"GET", "a"}).send(announced).ignore(),
                         Script().greet().expect({"GET", "b"}).send(bulk(value_of("b")))});
  auto options = server.options();
  options.command_timeout = 100ms;
  RedisCache cache(make_pool(options));
  const auto before = peak_memory();
  failure_within<TimeoutError>(whole_budget(options), [&] { cache.get("a"); });
  if (!sanitized) CHECK(peak_memory() - before < 16 << 20);
  CHECK(within(whole_budget(options), [&] { return cache.get("b"); }) == value_of("b"));
  CHECK(server.problem() == "");
  ++figures().faults;
}

TEST_CASE("an answer that goes on and on is given up when the time is up") {
  ScriptedServer server({Script().greet().expect({"GET", "a"}).send("*300000000\r\n").flood(repeated(":1\r\n", 10)),
                         Script().greet().expect({"GET", "b"}).send(bulk(value_of("b")))});
  auto options = server.options();
  options.command_timeout = 100ms;
  RedisCache cache(make_pool(options));
  failure_within<TimeoutError>(whole_budget(options), [&] { cache.get("a"); });
  CHECK(within(whole_budget(options), [&] { return cache.get("b"); }) == value_of("b"));
  CHECK(server.problem() == "");
  ++figures().faults;
}

TEST_CASE("replies flood in while a large value is sent") {
  const std::string value = value_of("a", 32 << 20);
  ScriptedServer server({Script().greet().expect("*3\r\n$3\r\nSET\r\n$1\r\na\r\n").flood(repeated("+OK\r\n", 10'000)),
                         Script().greet().expect({"GET", "b"}).send(bulk(value_of("b")))});
  const auto options = limited(server);
  RedisCache cache(make_pool(options));
  const auto before = peak_memory();
  failure_within<ProtocolError>(whole_budget(options), [&] { cache.set("a", value); });
  if (!sanitized) CHECK(peak_memory() - before < 16 * reply_limit);
  CHECK(within(whole_budget(options), [&] { return cache.get("b"); }) == value_of("b"));
  CHECK(server.problem() == "");
  ++figures().faults;
}

TEST_CASE("an answer of another type or shape than the command has") {
  struct Case {
    const char* what;
    std::string request, answer;
    void (*call)(RedisCache&);
  };
  const std::string set = request({"SET", "a", "1"}), add = request({"SET", "a", "1", "NX"});
  const std::string del = request({"DEL", "a"}), exists = request({"EXISTS", "a"}), mget = request({"MGET", "a", "b"});
  const std::string expire = request({"PEXPIRE", "a", "1000"}), persist = exists + request({"PERSIST", "a"});
  const std::string scan = request({"SCAN", "0", "MATCH", "*", "COUNT", "1000"});
  const auto do_set = [](RedisCache& cache) { cache.set("a", "1"); };
  const auto do_add = [](RedisCache& cache) { cache.add("a", "1"); };
  const auto do_erase = [](RedisCache& cache) { cache.erase("a"); };
  const auto do_contains = [](RedisCache& cache) { static_cast<void>(cache.contains("a")); };
  const auto do_touch = [](RedisCache& cache) { cache.touch("a", 1); };
  const auto do_keep = [](RedisCache& cache) { cache.touch("a", std::nullopt); };
  const auto do_get_many = [](RedisCache& cache) { cache.get_many({"a", "b"}); };
  const auto do_set_many = [](RedisCache& cache) { cache.set_many({{"a", "1"}, {"a", "1"}}); };
  const auto do_clear = [](RedisCache& cache) { cache.clear(); };
  const Case cases[] = {
      {"set: string", set, bulk("OK"), do_set},
      {"set: nil", set, "$-1\r\n", do_set},
      {"set: integer", set, ":1\r\n", do_set},
      {"set: array", set, "*0\r\n", do_set},
      {"add: string", add, bulk("OK"), do_add},
      {"add: integer", add, ":1\r\n", do_add},
      {"erase: status", del, "+OK\r\n", do_erase},
      {"erase: nil", del, "$-1\r\n", do_erase},
      {"contains: string", exists, bulk("1"), do_contains},
      {"touch: nil", expire, "$-1\r\n", do_touch},
      {"touch: array", expire, "*1\r\n:1\r\n", do_touch},
      {"touch forever: a status", persist, ":1\r\n+OK\r\n", do_keep},
      {"get_many: too few", mget, "*1\r\n" + bulk("1"), do_get_many},
      {"get_many: too many", mget, "*3\r\n" + bulk("1") + bulk("2") + bulk("3"), do_get_many},
      {"get_many: nil", mget, "*-1\r\n", do_get_many},
      {"get_many: a string", mget, bulk("1"), do_get_many},
      {"get_many: integers", mget, "*2\r\n:1\r\n:2\r\n", do_get_many},
      {"get_many: arrays", mget, "*2\r\n*1\r\n$1\r\n1\r\n*0\r\n", do_get_many},
      {"get_many: statuses", mget, "*2\r\n+a\r\n+b\r\n", do_get_many},
      {"set_many: string", set + set, "+OK\r\n" + bulk("OK"), do_set_many},
      {"set_many: nil", set + set, "+OK\r\n$-1\r\n", do_set_many},
      {"clear: integer", scan, ":0\r\n", do_clear},
      {"clear: one part", scan, "*1\r\n" + bulk("0"), do_clear},
      {"clear: three parts", scan, "*3\r\n" + bulk("0") + "*0\r\n*0\r\n", do_clear},
      {"clear: a cursor that is an integer", scan, "*2\r\n:0\r\n*0\r\n", do_clear},
      {"clear: a cursor that is an array", scan, "*2\r\n*0\r\n*0\r\n", do_clear},
      {"clear: keys that are a string", scan, "*2\r\n" + bulk("0") + bulk("a"), do_clear},
      {"clear: keys that are integers", scan, "*2\r\n" + bulk("0") + "*1\r\n:1\r\n", do_clear},
      {"clear: keys that are arrays", scan, "*2\r\n" + bulk("0") + "*1\r\n*1\r\n" + bulk("a"), do_clear},
  };
  for (const auto& each : cases) {
    INFO(each.what);
    Script honest = Script().greet().expect({"GET", "b"}).send(bulk(value_of("b")));
    ScriptedServer server(
        {Script().greet().expect(each.request).send(each.answer).expect({"GET", "b"}).send(bulk(value_of("b"))),
         std::move(honest)});
    const auto options = limited(server);
    RedisCache cache(make_pool(options));
    failure_within<ProtocolError>(whole_budget(options), [&] { each.call(cache); });
    CHECK(within(whole_budget(options), [&] { return cache.get("b"); }) == value_of("b"));
    ++figures().faults;
  }
}

TEST_CASE("SCAN answers with keys that were not asked for: they are not deleted") {
  ScriptedServer server({Script()
                             .greet()
                             .expect({"SCAN", "0", "MATCH", "ours:*", "COUNT", "1000"})
                             .send("*2\r\n" + bulk("0") + "*3\r\n" + bulk("theirs:1") + bulk("ours:1") + bulk("ours"))
                             .expect({"DEL", "ours:1"})
                             .send(":1\r\n")});
  RedisCache cache(make_pool(limited(server)), "ours:");
  cache.clear();
  CHECK(server.problem() == "");
  ++figures().faults;
}

TEST_CASE("garbage in place of the answer to a new connection") {
  const std::string answer = GENERATE(as<std::string>(), "SSH-2.0-OpenSSH_9.2\r\n", "$1\r\nx\r\n", "+PONG\r\n+PONG\r\n",
                                      "*2147483648\r\n", "-DENIED Redis is running in protected mode\r\n");
  ScriptedServer server({Script().expect({"PING"}).send(answer).ignore(),
                         Script().greet().expect({"GET", "b"}).send(bulk(value_of("b")))});
  const auto options = limited(server);
  RedisCache cache(make_pool(options));
  std::optional<std::string> value;
  CHECK(eventually([&] {
    try {
      value = within(whole_budget(options), [&] { return cache.get("b"); });
    } catch (const ConnectionError&) {
    } catch (const ServerError& error) {
      CHECK(error.code() == "DENIED");
    }
    return value.has_value();
  }));
  CHECK(value == value_of("b"));
  CHECK(server.accepted() == 2);
  CHECK(server.problem() == "");
  ++figures().faults;
}

TEST_CASE("keys and values over 512 MiB are refused before anything is sent") {
  constexpr std::size_t limit = std::size_t{512} << 20;
  const Nothing nothing(limit + 1);
  const auto too_long = nothing.first(limit + 1);
  RedisProcess redis;
  Proxy proxy(redis.address());
  RedisCache cache(make_pool(proxy.options())), prefixed(make_pool(proxy.options()), "p");
  const auto refused = [](auto call) { failure_within<InvalidArgument>(100ms, call); };
  refused([&] { cache.get(too_long); });
  refused([&] { cache.set(too_long, "value"); });
  refused([&] { cache.set("key", too_long); });
  refused([&] { cache.add("key", too_long); });
  refused([&] { cache.touch(too_long, 1); });
  refused([&] { static_cast<void>(cache.contains(too_long)); });
  refused([&] { cache.erase(too_long); });
  refused([&] { cache.get_many({"key", too_long}); });
  refused([&] { cache.set_many({{"a", "b"}, {"key", too_long}}); });
  refused([&] { cache.erase_many({"key", too_long}); });
  refused([&] { prefixed.get(nothing.first(limit)); });
  CHECK(proxy.accepted() == 0);
  cache.set("key", value_of("key"));
  CHECK(cache.get("key") == value_of("key"));
}

TEST_CASE("a value that is too large for the server's own limit") {
  const auto listen = GENERATE(RedisProcess::on_unix_socket, RedisProcess::on_both);
  RedisProcess redis({"--proto-max-bulk-len", "1mb"}, listen);
  const auto options = listen == RedisProcess::on_both ? redis.tcp_address().options() : redis.options();
  RedisCache cache(make_pool(options));
  cache.set("a", value_of("a"));
  const std::string value = value_of("b", 8 << 20);
  for (const bool add : {false, true}) {
    try {
      within(whole_budget(options), [&] { add ? static_cast<void>(cache.add("b", value)) : cache.set("b", value); });
      FAIL("the call did not fail");
    } catch (const ServerError& error) {
      CHECK_THAT(error.what(), ContainsSubstring("invalid bulk length"));
    } catch (const ConnectionError& error) {
      CHECK_THAT(error.what(), ContainsSubstring("connection"));
    }
    CHECK(within(whole_budget(options), [&] { return cache.get("a"); }) == value_of("a"));
  }
  CHECK(redis.ask({"EXISTS", "b"}) == "0");
  ++figures().faults;
}
