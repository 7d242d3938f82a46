#include <larder/error.hpp>
#include <larder/redis/command.hpp>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/wire.hpp"

using larder::InvalidArgument;
using larder::redis::Command;
using larder::redis::Key;
using larder::redis::Reply;
using larder::redis::Value;
using larder::testing::request;
using Kind = Reply::Kind;

static_assert(std::is_copy_constructible_v<Command> && std::is_nothrow_move_constructible_v<Command>);
static_assert(noexcept(std::declval<Command&>().head()) && noexcept(std::declval<Command&>().key()));
static_assert(!std::is_convertible_v<const char*, Command> && !std::is_convertible_v<const char*, Value>);

namespace {

std::string encoded(const Command& command) {
  std::string bytes;
  bytes.append(command.head()).append(command.value()).append(command.tail());
  CHECK(bytes.size() == command.size());
  return bytes;
}

}  // namespace

TEST_CASE("a command is encoded as an array of strings") {
  CHECK(encoded(Command("PING")) == "*1\r\n$4\r\nPING\r\n");
  CHECK(encoded(Command("GET", Key{"users:", "ann"})) == "*2\r\n$3\r\nGET\r\n$9\r\nusers:ann\r\n");
  CHECK(encoded(Command("SELECT", 12)) == "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
  CHECK(encoded(Command("SET", Key{"p:", "k"}, Value{"v"}, "PX", 60000)) ==
        "*5\r\n$3\r\nSET\r\n$3\r\np:k\r\n$1\r\nv\r\n$2\r\nPX\r\n$5\r\n60000\r\n");
}

TEST_CASE("an argument may be a text of any type") {
  const std::string text = "text";
  const char* const pointer = "text";
  const std::string_view view = "text";
  const char array[] = "text";
  CHECK(encoded(Command(text, text, pointer, view, array, "text")) ==
        request({"text", "text", "text", "text", "text", "text"}));
}

TEST_CASE("numbers of every size are written in full") {
  const auto written = [](auto number) { return encoded(Command("X", number)); };
  CHECK(written(0) == request({"X", "0"}));
  CHECK(written(-1) == request({"X", "-1"}));
  CHECK(written(INT64_MIN) == request({"X", "-9223372036854775808"}));
  CHECK(written(UINT64_MAX) == request({"X", "18446744073709551615"}));
  CHECK(written(static_cast<short>(SHRT_MIN)) == request({"X", "-32768"}));
  CHECK(written(static_cast<signed char>(-128)) == request({"X", "-128"}));
  CHECK(written(static_cast<unsigned char>(255)) == request({"X", "255"}));
}

TEST_CASE("keys and arguments of every length around the short buffer's end") {
  for (std::size_t size = 0; size < 300; ++size) {
    const std::string text(size, 'k');
    const std::string value = "value of " + std::to_string(size);
    const Command get("GET", Key{"p:", text});
    REQUIRE(encoded(get) == request({"GET", "p:" + text}));
    REQUIRE(get.key() == "p:" + text);
    REQUIRE(get.name() == "GET");
    const Command set("SET", Key{text, "k"}, Value{value}, "PX", 1, "NX");
    REQUIRE(encoded(set) == request({"SET", text + "k", value, "PX", "1", "NX"}));
    REQUIRE(set.key() == text + "k");
    REQUIRE(set.value() == value);
    REQUIRE(encoded(Command("AUTH", text, text)) == request({"AUTH", text, text}));
    Command added(text + "N");
    added.add(Key{text, "k"}).add(Value{value}).add(text).add(INT64_MIN);
    REQUIRE(encoded(added) == request({text + "N", text + "k", value, text, std::to_string(INT64_MIN)}));
    REQUIRE(added.key() == text + "k");
    REQUIRE(added.name() == text + "N");
  }
}

TEST_CASE("added arguments are counted, whatever their number") {
  for (const std::size_t values_at : {std::size_t{0}, std::size_t{50}, std::size_t{2000}}) {
    Command command("MGET");
    std::vector<std::string> words = {"MGET"};
    for (std::size_t i = 0; i < 1200; ++i) {
      const std::string key = "key " + std::to_string(i);
      if (i == values_at) {
        command.add(Value{"the value"});
        words.emplace_back("the value");
      }
      command.add(Key{"p:", key});
      words.push_back("p:" + key);
      if (i < 120 || i > 990) REQUIRE(encoded(command) == request(words));
      REQUIRE(command.key() == "p:key 0");
    }
    CHECK(encoded(command) == request(words));
    CHECK(command.value() == (values_at < 1200 ? "the value" : ""));
  }
}

TEST_CASE("any bytes, and none, may be in a key, a value and an argument") {
  const std::string bytes("a\0b\r\n$3\r\n\xFF", 10);
  CHECK(encoded(Command("SET", Key{bytes, bytes}, Value{bytes})) == request({"SET", bytes + bytes, bytes}));
  const std::string_view nothing;
  CHECK(encoded(Command("SET", Key{nothing, nothing}, Value{nothing}, "PX", 1)) == request({"SET", "", "", "PX", "1"}));
  CHECK(encoded(Command("SET", Key{"", ""}, Value{""}, "PX", 1)) == request({"SET", "", "", "PX", "1"}));
  CHECK(encoded(Command("AUTH", nothing)) == request({"AUTH", ""}));
}

TEST_CASE("a value is not copied") {
  const std::string value(1 << 20, 'v');
  const Command set("SET", Key{"k"}, Value{value});
  CHECK(set.value().data() == value.data());
  CHECK(set.head() == "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n");
  CHECK(set.tail() == "\r\n");
  CHECK(set.size() == set.head().size() + value.size() + 2);
}

TEST_CASE("a command that would not be counted right is refused") {
  CHECK_THROWS_AS(Command(""), InvalidArgument);
  CHECK_THROWS_AS(Command(std::string_view(), Key{"k"}), InvalidArgument);
  Command set("SET", Key{"k"}, Value{"first"});
  CHECK_THROWS_AS(set.add(Value{"second"}), InvalidArgument);
  CHECK(encoded(set) == request({"SET", "k", "first"}));
}

TEST_CASE("a command is still itself after copies and moves") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}}) {
    const std::string name(size, 'n');
    const std::string expected = request({"SET", "p:" + name, "value", "NX"});
    Command original("SET", Key{"p:", name}, Value{"value"}, "NX");
    original.never_repeat();
    Command copy(original);
    Command moved(std::move(original));
    std::vector<Command> many(3, copy);
    many.reserve(100);
    many[0] = std::move(moved);
    for (const Command& command : {copy, many[0], many[2]}) {
      CHECK(encoded(command) == expected);
      CHECK(command.key() == "p:" + name);
      CHECK_FALSE(command.repeatable());
    }
  }
}

TEST_CASE("a command knows its first key, what it expects, and whether it may be repeated") {
  Command mget("MGET");
  CHECK(mget.key().empty());
  CHECK(mget.answer() == std::nullopt);
  mget.add(Key{"p:", "a"}).add(Key{"p:", "b"}).add(Key{"p:", "c"}).expects(Kind::array);
  CHECK(mget.key() == "p:a");
  CHECK(mget.answer() == Kind::array);
  CHECK(mget.repeatable());
  CHECK(encoded(mget) == request({"MGET", "p:a", "p:b", "p:c"}));
  CHECK_FALSE(mget.never_repeat().repeatable());
}

TEST_CASE("a command knows whether it must have a connection of its own") {
  for (const auto* name :
       {"AUTH",     "BLMOVE",       "BLMPOP",      "BLPOP",   "BRPOP",        "BRPOPLPUSH", "BZMPOP",     "BZPOPMAX",
        "BZPOPMIN", "DISCARD",      "EXEC",        "HELLO",   "MONITOR",      "MULTI",      "PSUBSCRIBE", "PSYNC",
        "QUIT",     "READONLY",     "READWRITE",   "RESET",   "PUNSUBSCRIBE", "SELECT",     "SSUBSCRIBE", "SUBSCRIBE",
        "SYNC",     "SUNSUBSCRIBE", "UNSUBSCRIBE", "UNWATCH", "WAIT",         "WAITAOF",    "WATCH"}) {
    CAPTURE(name);
    std::string lower = name;
    for (char& c : lower) c = static_cast<char>(c - 'A' + 'a');
    CHECK(Command(name).needs_own_connection());
    CHECK(Command(lower, "argument", 1).needs_own_connection());
    CHECK_FALSE(Command(lower + "x").needs_own_connection());
    CHECK_FALSE(Command("x" + lower).needs_own_connection());
    CHECK_FALSE(Command("GET", Key{name}).needs_own_connection());
  }
  for (const auto* what : {"REPLY", "tracking", "Caching", "NO-EVICT", "NO-TOUCH", "SETNAME", "SETINFO"}) {
    CAPTURE(what);
    CHECK(Command("CLIENT", what, "ON").needs_own_connection());
    CHECK(Command("client").add(Value{what}).add("ON").needs_own_connection());
  }
  CHECK(Command("XREAD", "COUNT", 2, "block", 0, "STREAMS", Key{"s"}, 0).needs_own_connection());
  CHECK(Command("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", Key{"s"}, ">").needs_own_connection());
  CHECK(Command("XREAD").add("COUNT").add(2).add("BLOCK").add(0).needs_own_connection());
  for (const auto& shares : {Command("XREAD", "COUNT", 2, "STREAMS", Key{"BLOCK"}, 0),
                             Command("XREADGROUP", "GROUP", "BLOCK", "block", "STREAMS", Key{"s"}, ">"),
                             Command("XREADGROUP", "GROUP"), Command("CLIENT"), Command("CLIENT", "LIST"),
                             Command("CLIENT", "ID"), Command("GET", Key{"k"}), Command("MGET", Key{"k"}),
                             Command("SCAN", 0), Command("EVAL", "return 1", 0), Command("PING"), Command("XREAD")}) {
    CHECK_FALSE(shares.needs_own_connection());
  }
}
