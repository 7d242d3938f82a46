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

using larder::redis::Command;
using larder::redis::Reply;
using Kind = Reply::Kind;

static_assert(std::is_copy_constructible_v<Command> && std::is_nothrow_move_constructible_v<Command>);
static_assert(noexcept(std::declval<Command&>().head()) && noexcept(std::declval<Command&>().key()));

namespace {

std::string encoded(const Command& command) {
  std::string bytes;
  bytes.append(command.head()).append(command.value()).append(command.tail());
  CHECK(bytes.size() == command.size());
  return bytes;
}

/// What a request must be, written plainly.
std::string request(const std::vector<std::string>& words) {
  std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
  for (const auto& word : words) bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return bytes;
}

}  // namespace

TEST_CASE("a command is encoded as an array of strings") {
  CHECK(encoded(Command("PING", 0, Kind::status)) == "*1\r\n$4\r\nPING\r\n");
  CHECK(encoded(Command("GET", 1, Kind::string).key("users:", "ann")) == "*2\r\n$3\r\nGET\r\n$9\r\nusers:ann\r\n");
  CHECK(encoded(Command("SELECT", 1, Kind::status).argument(12)) == "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
  CHECK(encoded(Command("SET", 4, Kind::status).key("p:", "k").value("v").argument("PX").argument(60000)) ==
        "*5\r\n$3\r\nSET\r\n$3\r\np:k\r\n$1\r\nv\r\n$2\r\nPX\r\n$5\r\n60000\r\n");
}

TEST_CASE("numbers of every size are written in full") {
  const auto written = [](auto number) { return encoded(Command("X", 1, Kind::integer).argument(number)); };
  CHECK(written(0) == request({"X", "0"}));
  CHECK(written(-1) == request({"X", "-1"}));
  CHECK(written(INT64_MIN) == request({"X", "-9223372036854775808"}));
  CHECK(written(UINT64_MAX) == request({"X", "18446744073709551615"}));
  CHECK(written(static_cast<short>(SHRT_MIN)) == request({"X", "-32768"}));
}

TEST_CASE("keys and arguments of every length around the short buffer's end") {
  for (std::size_t size = 0; size < 300; ++size) {
    const std::string text(size, 'k');
    const std::string value = "value of " + std::to_string(size);
    const Command get = Command("GET", 1, Kind::string).key("p:", text);
    REQUIRE(encoded(get) == request({"GET", "p:" + text}));
    REQUIRE(get.key() == "p:" + text);
    const Command set =
        Command("SET", 5, Kind::status).key(text, "k").value(value).argument("PX").argument(1).argument("NX");
    REQUIRE(encoded(set) == request({"SET", text + "k", value, "PX", "1", "NX"}));
    REQUIRE(set.key() == text + "k");
    REQUIRE(set.value() == value);
    REQUIRE(encoded(Command("AUTH", 2, Kind::status).argument(text).argument(text)) == request({"AUTH", text, text}));
  }
}

TEST_CASE("any bytes, and none, may be in a key, a value and an argument") {
  const std::string bytes("a\0b\r\n$3\r\n\xFF", 10);
  CHECK(encoded(Command("SET", 2, Kind::status).key(bytes, bytes).value(bytes)) ==
        request({"SET", bytes + bytes, bytes}));
  const std::string_view nothing;
  CHECK(encoded(Command("SET", 4, Kind::status).key(nothing, nothing).value(nothing).argument("PX").argument(1)) ==
        request({"SET", "", "", "PX", "1"}));
  CHECK(encoded(Command("SET", 4, Kind::status).key("", "").value("").argument("PX").argument(1)) ==
        request({"SET", "", "", "PX", "1"}));
  CHECK(encoded(Command("AUTH", 1, Kind::status).argument(nothing)) == request({"AUTH", ""}));
}

TEST_CASE("a value is not copied") {
  const std::string value(1 << 20, 'v');
  const Command set = Command("SET", 2, Kind::status).key("", "k").value(value);
  CHECK(set.value().data() == value.data());
  CHECK(set.head() == "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n");
  CHECK(set.tail() == "\r\n");
  CHECK(set.size() == set.head().size() + value.size() + 2);
}

TEST_CASE("a command is still itself after copies and moves") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}}) {
    const std::string name(size, 'n');
    const std::string expected = request({"SET", "p:" + name, "value", "NX"});
    Command original("SET", 3, Kind::status);
    original.key("p:", name).value("value").argument("NX").never_repeat();
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

TEST_CASE("a command knows its first key, its answer, and whether it may be repeated") {
  Command mget("MGET", 3, Kind::array);
  CHECK(mget.key().empty());
  mget.key("p:", "a").key("p:", "b").key("p:", "c");
  CHECK(mget.key() == "p:a");
  CHECK(mget.answer() == Kind::array);
  CHECK(mget.repeatable());
  CHECK(encoded(mget) == request({"MGET", "p:a", "p:b", "p:c"}));
  CHECK_FALSE(mget.never_repeat().repeatable());
}
