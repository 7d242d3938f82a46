#include <larder/error.hpp>
#include <larder/redis/reply.hpp>

#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <type_traits>

#include "support/catch.hpp"

using larder::ProtocolError;
using larder::ServerError;
using larder::redis::Reply;
using Kind = Reply::Kind;

static_assert(std::is_nothrow_move_constructible_v<Reply> && std::is_nothrow_default_constructible_v<Reply>);
static_assert(!std::is_convertible_v<int, Reply> && !std::is_convertible_v<std::string, Reply>);

TEST_CASE("the content of a reply is taken as what it is, or not at all") {
  CHECK(Reply(Kind::string, "text").take_string() == "text");
  CHECK(Reply(Kind::string, "").take_string() == "");
  CHECK(Reply().take_string() == std::nullopt);
  CHECK(Reply(Kind::status, "OK").is_status());
  CHECK_FALSE(Reply().is_status());
  CHECK(Reply(Kind::status, "OK").is_ok());
  CHECK_FALSE(Reply().is_ok());
  CHECK(Reply(std::int64_t{-7}).integer() == -7);
  CHECK(Reply(Kind::string, "text").string() == "text");
  CHECK(Reply(Reply::Array(3)).take_array().size() == 3);

  CHECK_THROWS_AS(Reply(Kind::status, "OK").take_string(), ProtocolError);
  CHECK_THROWS_AS(Reply(std::int64_t{1}).take_string(), ProtocolError);
  CHECK_THROWS_AS(Reply(Reply::Array()).take_string(), ProtocolError);
  CHECK_THROWS_AS(Reply(Kind::string, "OK").is_status(), ProtocolError);
  CHECK_THROWS_AS(Reply(Kind::status, "QUEUED").is_ok(), ProtocolError);
  CHECK_THROWS_AS(Reply(Kind::string, "OK").is_ok(), ProtocolError);
  CHECK_THROWS_AS(Reply().integer(), ProtocolError);
  CHECK_THROWS_AS(Reply().string(), ProtocolError);
  CHECK_THROWS_AS(Reply(Kind::string, "1").integer(), ProtocolError);
  CHECK_THROWS_AS(Reply().take_array(), ProtocolError);
  CHECK_THROWS_AS(Reply(Kind::string, "1").take_array(), ProtocolError);
}

TEST_CASE("a failure is thrown as what the server said, a lost reply as the lack of memory") {
  const auto taken = GENERATE(
      +[](Reply& reply) { reply.take_string(); }, +[](Reply& reply) { reply.is_status(); },
      +[](Reply& reply) { reply.is_ok(); }, +[](Reply& reply) { reply.integer(); },
      +[](Reply& reply) { reply.take_array(); }, +[](Reply& reply) { reply.string(); });
  Reply failure(Kind::failure, "NOPERM this user may not");
  try {
    taken(failure);
    FAIL("no error");
  } catch (const ServerError& error) {
    CHECK(error.code() == "NOPERM");
    CHECK(std::string(error.what()) == "NOPERM this user may not");
  }
  CHECK(failure.failure() == "NOPERM this user may not");
  Reply lost(Kind::out_of_memory);
  CHECK_THROWS_AS(taken(lost), std::bad_alloc);
}

TEST_CASE("who takes a node of a Cluster for a single server is told the URL") {
  Reply moved(Kind::failure, "MOVED 3999 127.0.0.1:6381");
  CHECK(moved.failure() == "MOVED 3999 127.0.0.1:6381");
  try {
    moved.take_string();
    FAIL("it was taken");
  } catch (const larder::ServerError& error) {
    CHECK(error.code() == "MOVED");
    CHECK(std::string(error.what()) == "MOVED 3999 127.0.0.1:6381; the URL of a Cluster is redis+cluster://host:port");
  }
}

TEST_CASE("an answer is of the kind that is expected, or nil, a failure, or without memory") {
  const auto kinds = {Kind::string, Kind::status, Kind::integer, Kind::array};
  for (const Kind asked : kinds) {
    CHECK(Reply(Kind::failure, "ERR").fits(asked));
    CHECK(Reply(Kind::out_of_memory).fits(asked));
    CHECK(Reply().fits(asked));
    for (const Kind given : kinds) CHECK(Reply(given).fits(asked) == (given == asked));
  }
}
