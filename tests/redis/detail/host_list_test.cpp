#include <larder/redis/detail/host_list.hpp>

#include <larder/error.hpp>
#include <string>
#include <vector>

#include "support/catch.hpp"

using larder::redis::detail::Endpoint;
using larder::redis::detail::read_hosts;
using larder::redis::detail::split_hosts;

TEST_CASE("hosts are separated by commas, and each may have a port") {
  CHECK(read_hosts(split_hosts("localhost"), 6379) == std::vector<Endpoint>{{"localhost", 6379}});
  CHECK(read_hosts(split_hosts("h1:7000,10.0.0.2,[::1]:7002,[fe80::1%25eth0]"), 26379) ==
        std::vector<Endpoint>{{"h1", 7000}, {"10.0.0.2", 26379}, {"::1", 7002}, {"fe80::1%eth0", 26379}});
}

TEST_CASE("a host that cannot be one is refused") {
  for (const std::string hosts : {"", ",h", "h,", "h,,h", ":6379", "h:", "h:0", "h:65536", "h:x", "h:-1", "[::1",
                                  "[::1]6379", "two%20words", "nul%00", "h%0a", "h%", "::1"}) {
    CAPTURE(hosts);
    CHECK_THROWS_AS(read_hosts(split_hosts(hosts), 6379), larder::InvalidArgument);
  }
  CHECK_THROWS_AS(read_hosts({}, 6379), larder::InvalidArgument);
}
