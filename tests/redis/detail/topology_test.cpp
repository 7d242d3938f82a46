#include <larder/redis/detail/topology.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using larder::redis::Reply;
using larder::redis::detail::Endpoint;
using larder::redis::detail::read_topology;
using larder::redis::detail::Topology;
using Kind = Reply::Kind;

namespace {

Reply text(std::string_view bytes) { return Reply(Kind::string, std::string(bytes)); }
Reply number(std::int64_t value) { return Reply(value); }

template <class... Part>
Reply list(Part... parts) {
  Reply::Array elements;
  (elements.push_back(std::move(parts)), ...);
  return Reply(std::move(elements));
}

Reply node(Reply host, std::int64_t port) { return list(std::move(host), number(port), text("id"), list()); }
Reply row(std::int64_t first, std::int64_t last, Reply primary) {
  return list(number(first), number(last), std::move(primary), node(text("replica"), 1));
}

}  // namespace

TEST_CASE("the map of a cluster has a primary for each slot") {
  Reply slots = list(row(10923, 16383, node(text("10.0.0.3"), 7002)), row(0, 5460, node(text("10.0.0.1"), 7000)),
                     row(5461, 5461, node(text("10.0.0.3"), 7002)), row(5463, 10922, node(text("10.0.0.1"), 7003)));
  const auto map = read_topology(slots);
  REQUIRE(map);
  CHECK(map->primaries == std::vector<Endpoint>{{"10.0.0.3", 7002}, {"10.0.0.1", 7000}, {"10.0.0.1", 7003}});
  REQUIRE(map->owners.size() == 16384);
  CHECK(map->owners[0] == 1);
  CHECK(map->owners[5460] == 1);
  CHECK(map->owners[5461] == 0);
  CHECK(map->owners[5462] == Topology::nobody);
  CHECK(map->owners[5463] == 2);
  CHECK(map->owners[10922] == 2);
  CHECK(map->owners[10923] == 0);
  CHECK(map->owners[16383] == 0);
}

TEST_CASE("a primary without a host is where the answer comes from") {
  for (Reply host : {Reply(), text(""), text("?")}) {
    Reply slots = list(row(0, 16383, node(std::move(host), 7000)));
    const auto map = read_topology(slots);
    REQUIRE(map);
    CHECK(map->primaries == std::vector<Endpoint>{{"", 7000}});
  }
  Reply ipv6 = list(row(0, 16383, node(text("::1"), 7000)));
  CHECK(read_topology(ipv6)->primaries == std::vector<Endpoint>{{"::1", 7000}});
  Reply named = list(row(0, 16383, node(text("cache-1.example.com"), 7000)));
  CHECK(read_topology(named)->primaries == std::vector<Endpoint>{{"cache-1.example.com", 7000}});
}

TEST_CASE("a map with a range for each slot is read") {
  Reply::Array rows;
  for (std::int64_t slot = 16383; slot >= 0; --slot)
    rows.push_back(row(slot, slot, node(text("h"), 7000 + slot % 100)));
  Reply slots(std::move(rows));
  const auto map = read_topology(slots);
  REQUIRE(map);
  CHECK(map->primaries.size() == 100);
  CHECK(map->primaries[map->owners[4321]].port == 7021);
}

TEST_CASE("a map that makes no sense is not believed") {
  const auto good = [] { return node(text("h"), 7000); };
  const auto refused = [](Reply reply) { return !read_topology(reply); };
  CHECK(refused(Reply()));
  CHECK(refused(number(1)));
  CHECK(refused(Reply(Kind::failure, "ERR This instance has cluster support disabled")));
  CHECK(refused(Reply(Kind::out_of_memory)));
  CHECK(refused(list()));  // no slot is served
  CHECK(refused(list(Reply())));
  CHECK(refused(list(list())));
  CHECK(refused(list(list(number(0), number(16383)))));
  CHECK(refused(list(list(text("0"), number(16383), good()))));
  CHECK(refused(list(row(0, 16383, Reply()))));
  CHECK(refused(list(row(0, 16383, list()))));
  CHECK(refused(list(row(0, 16383, list(text("h"))))));
  CHECK(refused(list(row(0, 16383, list(text("h"), text("7000"))))));
  CHECK(refused(list(row(0, 16383, list(number(7), number(7000))))));
  for (const std::int64_t port : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{65536}, INT64_MAX, INT64_MIN})
    CHECK(refused(list(row(0, 16383, node(text("h"), port)))));
  for (const std::string& host : {std::string("two words"), std::string("nul\0", 4), std::string(65536, 'h')})
    CHECK(refused(list(row(0, 16383, node(text(host), 7000)))));
  CHECK(refused(list(row(-1, 16383, good()))));
  CHECK(refused(list(row(0, 16384, good()))));
  CHECK(refused(list(row(INT64_MIN, INT64_MAX, good()))));
  CHECK(refused(list(row(2, 1, good()))));
  CHECK(refused(list(row(0, 100, good()), row(100, 200, good()))));
  CHECK(refused(list(row(0, 16383, good()), row(5, 6, good()))));
  CHECK(refused(list(row(0, 100, good()), row(0, 100, good()))));
  CHECK(refused(list(row(0, 100, good()), row(101, 200, Reply()))));
}
