#include <larder/error.hpp>
#include <larder/redis/detail/reply_parser.hpp>
#include <larder/redis/reply.hpp>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using larder::ProtocolError;
using larder::redis::Reply;
using larder::redis::detail::ReplyParser;
using Kind = Reply::Kind;
using Texts = std::vector<std::string>;

static_assert(!std::is_copy_constructible_v<ReplyParser> && !std::is_move_constructible_v<ReplyParser>);

namespace {

std::string text_of(Reply reply) {
  switch (reply.kind()) {
    case Kind::null:
      return reply.take_string() ? "not nil" : "nil";
    case Kind::string:
      return "$" + reply.take_string().value();
    case Kind::status:
      return reply.is_status() ? "status" : "not a status";
    case Kind::integer:
      return ":" + std::to_string(reply.integer());
    case Kind::failure:
      return "-" + std::string(reply.failure());
    case Kind::out_of_memory:
      return "lost";
    case Kind::array:
      break;
  }
  std::string text = "[";
  for (Reply& element : reply.take_array()) text += text_of(std::move(element)) + ",";
  return text + "]";
}

/// The replies in a stream that arrives in pieces; the sizes of the pieces come from `size()`.
template <class Size>
Texts replies_in(std::string_view stream, Size size, std::size_t max_reply_bytes = 1 << 20) {
  ReplyParser parser(max_reply_bytes);
  Texts replies;
  while (!stream.empty()) {
    const std::string_view piece = stream.substr(0, size());
    stream.remove_prefix(piece.size());
    const auto fresh = std::make_unique<char[]>(piece.size());  // so that a sanitizer sees reads beyond its end
    std::copy(piece.begin(), piece.end(), fresh.get());
    parser.feed(fresh.get(), piece.size());
    while (Reply* reply = parser.next()) replies.push_back(text_of(std::move(*reply)));
  }
  CHECK(parser.next() == nullptr);
  if (!replies.empty()) CHECK(parser.is_empty());
  return replies;
}

Texts whole(std::string_view stream) {
  return replies_in(stream, [] { return std::string_view::npos; });
}
Texts bytewise(std::string_view stream) {
  return replies_in(stream, [] { return std::size_t{1}; });
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  while (times-- > 0) all += text;
  return all;
}

}  // namespace

TEST_CASE("a reply of every type") {
  using namespace std::string_literals;
  const auto [stream, reply] = GENERATE(table<std::string, std::string>({
      {"$5\r\nhello\r\n", "$hello"},
      {"$0\r\n\r\n", "$"},
      {"$-1\r\n", "nil"},
      {"*-1\r\n", "nil"},
      {"$7\r\na\r\n\0b\xFF$\r\n"s, "$a\r\n\0b\xFF$"s},
      {"+OK\r\n", "status"},
      {"+\r\n", "status"},
      {"-WRONGTYPE Operation\r\n", "-WRONGTYPE Operation"},
      {"-\r\n", "-"},
      {"-ERR unknown command 'PING', with args beginning with: 'key' 'value' \r\n", "-ERR unknown command 'PING'"},
      {"-ERR unknown command 'SET', with args beginning with: 'key' \r\n",
       "-ERR unknown command 'SET'; is this a Sentinel (redis+sentinel://host:port/name)?"},
      {"-ERR unknown command `GET`, with args beginning with: `key`, \r\n",
       "-ERR unknown command `GET`; is this a Sentinel (redis+sentinel://host:port/name)?"},
      {"-ERR unknown command 'GETX'\r\n", "-ERR unknown command 'GETX'"},
      {"-ERR unknown command '\r\n", "-ERR unknown command '"},
      {"-ERR unknown command \r\n", "-ERR unknown command "},
      {":0\r\n", ":0"},
      {":-1\r\n", ":-1"},
      {":9223372036854775807\r\n", ":9223372036854775807"},
      {":-9223372036854775808\r\n", ":-9223372036854775808"},
      {"*0\r\n", "[]"},
      {"*1\r\n*0\r\n", "[[],]"},
      {"*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n", "[$a,nil,$,]"},
      {"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", "[$0,[$a,$b,],]"},
      {"*4\r\n:1\r\n+OK\r\n-ERR no\r\n*1\r\n*1\r\n:2\r\n", "[:1,status,-ERR no,[[:2,],],]"},
  }));
  CAPTURE(stream);
  CHECK(whole(stream) == Texts{reply});
  CHECK(bytewise(stream) == Texts{reply});
  CHECK(whole(stream + stream + stream) == Texts{reply, reply, reply});
}

TEST_CASE("nothing is a reply before its last byte is there") {
  const std::string stream = "*3\r\n$5\r\nhello\r\n:12\r\n*1\r\n-ERR\r\n";
  ReplyParser parser(1 << 20);
  CHECK(parser.is_empty());
  for (std::size_t i = 0; i < stream.size(); ++i) {
    CHECK(parser.next() == nullptr);
    parser.feed(&stream[i], 1);
    CHECK_FALSE(parser.is_empty());
  }
  Reply* const reply = parser.next();
  REQUIRE(reply);
  CHECK(text_of(std::move(*reply)) == "[$hello,:12,[-ERR,],]");
  CHECK(parser.is_empty());
  CHECK(parser.next() == nullptr);
}

TEST_CASE("a stream gives the same replies in whatever pieces it comes") {
  std::string stream;
  Texts expected;
  for (std::size_t i = 0; i < 300; ++i) {
    const std::string value = repeated("<" + std::to_string(i) + ">\r\n", i * i % 97);
    const std::string bulk = "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
    stream += bulk + "*3\r\n:" + std::to_string(i) + "\r\n" + bulk + "*2\r\n$-1\r\n" + bulk + "-ERR " +
              std::to_string(i) + "\r\n+OK\r\n";
    expected.push_back("$" + value);
    expected.push_back("[:" + std::to_string(i) + ",$" + value + ",[nil,$" + value + ",],]");
    expected.push_back("-ERR " + std::to_string(i));
    expected.emplace_back("status");
  }
  CHECK((whole(stream) == expected));
  CHECK((bytewise(stream) == expected));
  std::mt19937 random(20240817);
  for (const std::size_t longest : {3U, 17U, 100U, 1500U, 20'000U}) {
    for (int round = 0; round < 10; ++round) {
      CHECK((replies_in(stream, [&] { return 1 + random() % longest; }) == expected));
    }
  }
}

TEST_CASE("bytes that are kept may change, and come before those that are fed later") {
  const std::string stream = "$5\r\nhello\r\n$3\r\nabc\r\n+OK\r\n$1\r\n";
  std::string bytes = stream;
  ReplyParser parser(1 << 20);
  parser.feed(bytes.data(), bytes.size());
  CHECK(text_of(std::move(*parser.next())) == "$hello");
  parser.keep();
  bytes.assign(bytes.size(), '#');
  CHECK(text_of(std::move(*parser.next())) == "$abc");
  parser.feed("x\r\n$1\r\ny\r\n", 10);
  CHECK(text_of(std::move(*parser.next())) == "status");
  CHECK(text_of(std::move(*parser.next())) == "$x");
  CHECK(text_of(std::move(*parser.next())) == "$y");
  CHECK(parser.next() == nullptr);
  CHECK(parser.is_empty());
}

TEST_CASE("what is not RESP2 is refused") {
  const std::string stream =
      GENERATE(as<std::string>(), "hello\r\n", "\r\n", " +OK\r\n", "HTTP/1.1 400 Bad Request\r\n", "$5\r\nhelloXY",
               "$5\r\nhello\n\r", "$0\r\nxx", "$x\r\n", "$\r\n", "$5 \r\n", "$-2\r\n", "$99999999999999999999\r\n",
               "*x\r\n", "*\r\n", "*-2\r\n", "*99999999999999999999\r\n", "*1\r\n*x\r\n", ":\r\n", ":x\r\n", ":1x\r\n",
               ":99999999999999999999\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "%1\r\n+a\r\n+b\r\n", "~1\r\n+a\r\n",
               ">1\r\n+a\r\n", "(123\r\n", "=5\r\ntxt:a\r\n", "!3\r\nERR\r\n", "|1\r\n+a\r\n+b\r\n", "*1\r\n_\r\n",
               "*2\r\n+OK\r\nhello\r\n", "*1\r\n$1\r\nabc");
  CAPTURE(stream);
  CHECK_THROWS_AS(whole(stream), ProtocolError);
  CHECK_THROWS_AS(bytewise(stream), ProtocolError);
  CHECK_THROWS_AS(bytewise("+OK\r\n$1\r\na\r\n" + stream), ProtocolError);
}

TEST_CASE("arrays nest seven deep, and no deeper") {
  const std::string seven = repeated("*1\r\n", 7);
  CHECK(whole(seven + ":1\r\n") == Texts{"[[[[[[[:1,],],],],],],]"});
  CHECK_THROWS_AS(bytewise(seven + "*0\r\n"), ProtocolError);
  CHECK_THROWS_AS(whole(seven + "*1\r\n:1\r\n"), ProtocolError);
  CHECK_THROWS_AS(whole(repeated("*1\r\n", 300'000)), ProtocolError);
}

TEST_CASE("a reply may be as long as allowed, and no longer") {
  constexpr std::size_t limit = 1000;
  const auto all = [](std::string_view stream) {
    return replies_in(
               stream, [] { return std::string_view::npos; }, limit)
        .size();
  };
  const auto bytes = [](std::string_view stream) {
    return replies_in(
               stream, [] { return std::size_t{1}; }, limit)
        .size();
  };
  const auto bulk = [](std::size_t size) {
    return "$" + std::to_string(size) + "\r\n" + std::string(size, 'x') + "\r\n";
  };

  const std::string longest = bulk(limit - 8);
  REQUIRE(longest.size() == limit);
  CHECK(all(longest) == 1);
  CHECK(bytes(longest) == 1);
  CHECK(all(repeated(longest, 10)) == 10);
  CHECK(bytes(repeated(longest, 10)) == 10);
  CHECK_THROWS_AS(all(bulk(limit - 7)), ProtocolError);
  CHECK_THROWS_AS(bytes(bulk(limit - 7)), ProtocolError);
  CHECK_THROWS_AS(all("+" + std::string(limit, 'x') + "\r\n"), ProtocolError);
  CHECK_THROWS_AS(all("*3\r\n" + repeated(bulk(400), 3)), ProtocolError);
  CHECK_THROWS_AS(bytes("*3\r\n" + repeated(bulk(400), 3)), ProtocolError);
}

TEST_CASE("a reply that announces too much is refused at once") {
  const std::string stream = GENERATE(
      as<std::string>(), "$1001\r\n", "$9223372036854775807\r\n", "$18446744073709551616\r\n", "*1\r\n$536870913\r\n",
      "*1001\r\n", "*2147483647\r\n", "*2147483648\r\n", "*9223372036854775807\r\n", "*1\r\n*4294967297\r\n");
  CAPTURE(stream);
  CHECK_THROWS_AS(replies_in(
                      stream, [] { return std::string_view::npos; }, 1000),
                  ProtocolError);
  CHECK_THROWS_AS(replies_in(
                      stream, [] { return std::size_t{1}; }, 1000),
                  ProtocolError);
}

TEST_CASE("a line that never ends is refused") {
  const std::string line = GENERATE("+", "-", ":", "$", "*") + std::string(1001, 'x');
  CHECK_THROWS_AS(replies_in(
                      line, [] { return std::size_t{16}; }, 1000),
                  ProtocolError);
}

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("the room for a large reply is given back when the reply has been taken") {
  const auto in_use = [] {
    const auto memory = ::mallinfo2();
    return memory.uordblks + memory.hblkhd;
  };
  constexpr std::size_t size = 64 << 20;
  ReplyParser parser(size + 100);
  const auto read_one = [&](std::size_t bytes) {
    const std::string stream = "$" + std::to_string(bytes) + "\r\n" + std::string(bytes, 'x') + "\r\n";
    parser.feed(stream.data(), stream.size() - 1);
    CHECK(parser.next() == nullptr);
    parser.feed("\n", 1);
    Reply* const reply = parser.next();
    REQUIRE(reply);
    CHECK(reply->take_string().value().size() == bytes);
  };
  const auto before = in_use();
  for (int i = 0; i < 3; ++i) {
    read_one(size);
    CHECK(in_use() < before + (4 << 20));
  }
  read_one(1000);
  CHECK(parser.is_empty());

  // Not while the next reply has begun.
  const std::string large = "$" + std::to_string(size) + "\r\n" + std::string(size, 'x') + "\r\n$3\r\nab";
  parser.feed(large.data(), size);
  CHECK(parser.next() == nullptr);
  parser.feed(large.data() + size, large.size() - size);
  REQUIRE(parser.next());
  CHECK(parser.next() == nullptr);
  parser.feed("c\r\n", 3);
  Reply* const next = parser.next();
  REQUIRE(next);
  CHECK(next->take_string() == "abc");
  CHECK(parser.is_empty());
}
#endif
