#include <larder/redis/make_client.hpp>

#include <larder/error.hpp>
#include <larder/redis/cluster.hpp>
#include <larder/redis/pool.hpp>
#include <larder/redis/sentinel.hpp>
#include <memory>
#include <string>

#include "support/catch.hpp"
#include "support/testing.hpp"

using larder::InvalidArgument;
using larder::redis::make_client;

namespace {

template <class Kind>
bool makes(const std::string& url) {
  return std::dynamic_pointer_cast<Kind>(make_client(url)) != nullptr;
}

}  // namespace

TEST_CASE("the scheme of a URL says which client it is for, and no client connects before it is used") {
  CHECK(makes<larder::redis::Pool>("redis://h:1/2"));
  CHECK(makes<larder::redis::Pool>("unix:///nonexistent"));
  CHECK(makes<larder::redis::Cluster>("redis+cluster://h"));
  CHECK(makes<larder::redis::Cluster>("redis+cluster://user:pass@h1,10.0.0.2:7000,[::1]:7001/?connections=2"));
  CHECK(makes<larder::redis::Sentinel>("redis+sentinel://h/main"));
  CHECK(makes<larder::redis::Sentinel>(
      "redis+sentinel://u:p@h1,h2:26380/main/3?sentinel_username=s&sentinel_password=q&sentinel_check=250ms"
      "&connections=2"));
  CHECK(makes<larder::redis::Sentinel>("redis+sentinel://h/main?sentinel_tls=false"));
  CHECK(makes<larder::redis::Sentinel>("rediss+sentinel://h/main?tls_verify=ca&tls_ca_file=a&sentinel_tls=false"));
  CHECK(makes<larder::redis::Sentinel>("redis+sentinel://h/main?sentinel_tls=true&tls=true"));
}

TEST_CASE("a URL of several hosts that cannot be used is refused, and the message says what is wrong") {
  struct Case {
    const char* url;
    const char* part;
  };
  for (const auto& [url, part] : {
           Case{"redis+cluster://", "host"},
           Case{"redis+cluster://h1,,h2", "host"},
           Case{"redis+cluster://h1,h2:0", "port"},
           Case{"redis+cluster://h1,h2:s3cr3t", "port"},
           Case{"redis+cluster://h?host=h2", "host"},
           Case{"redis+cluster://::1:7000,h2", "brackets"},
           Case{"redis+cluster://h1%2Ch2", "host"},
           Case{"redis+cluster://h/x", "database"},
           Case{"redis+cluster://h?connections=0", "connections"},
           Case{"redis+cluster://h?nonsense=1", "nonsense"},
           Case{"unix+cluster:///run/redis.sock", "hosts"},
           Case{"redis+sentinel://h", "name"},
           Case{"redis+sentinel://h/", "name"},
           Case{"redis+sentinel:///main", "host"},
           Case{"redis+sentinel://h/main/x", "database"},
           Case{"redis+sentinel://h/main?sentinel_check=0", "sentinel_check"},
           Case{"redis+sentinel://h/main?sentinel_check=1", "sentinel_check"},
           Case{"redis+sentinel://h/main?sentinel_check=1000000min", "sentinel_check"},
           Case{"redis+sentinel://h/main?sentinel_nonsense=1", "sentinel_nonsense"},
           Case{"redis+sentinel://h/main?sentinel_check=1s&sentinel_check=2s", "sentinel_check: is given twice"},
           Case{"redis+sentinel://h/main?sentinel_tls=no", "sentinel_tls"},
           Case{"redis+sentinel://h/main?sentinel_tls=true", "sentinel_tls: needs TLS to the primary"},
           Case{"redis+sentinel://h/main?host=h2", "host: stands before the path"},
           Case{"redis+sentinel://h/main?primry_only=true", ", sentinel_username, sentinel_password, sentinel_check, "},
           Case{"redis+ring://h", "redis+cluster"},
           Case{"http://h", "redis+sentinel://"},
       }) {
    CAPTURE(url);
    const std::string address = url;
    CHECK_THAT(larder::testing::message_of<InvalidArgument>([&] { (void)make_client(address); }),
               Catch::Matchers::ContainsSubstring(part));
  }
}

TEST_CASE("options of a Sentinel that were set by hand are checked when it is made") {
  larder::redis::Sentinel::Options options;
  const auto message = [&] {
    return larder::testing::message_of<InvalidArgument>([&] { larder::redis::Sentinel({"h"}, "main", options); });
  };
  SECTION("of the primary") {
    options.primary.connections = 0;
    CHECK_THAT(message(), Catch::Matchers::ContainsSubstring("connections"));
  }
  SECTION("its database") {
    options.primary.database = -1;
    CHECK_THAT(message(), Catch::Matchers::ContainsSubstring("database"));
  }
  SECTION("sentinel_check") {
    options.sentinel_check = (std::chrono::milliseconds::max)();
    CHECK_THAT(message(), Catch::Matchers::ContainsSubstring("sentinel_check"));
  }
}

TEST_CASE("an unknown option that may be a part of a password is not named") {
  const auto* const url =
      GENERATE("redis+sentinel://h/main?sentinel_password=hunter2&SECRET=1",
               "redis+cluster://h?password=hunter2&SECRET=1", "redis://h?password=hunter2&SECRET=1");
  const std::string message = larder::testing::message_of<InvalidArgument>([&] { (void)make_client(url); });
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring("unknown option") &&
                          !Catch::Matchers::ContainsSubstring("SECRET") &&
                          !Catch::Matchers::ContainsSubstring("hunter2"));
}
