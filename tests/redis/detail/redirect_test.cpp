#include <larder/redis/detail/redirect.hpp>

#include <string>
#include <string_view>

#include "support/catch.hpp"

using larder::redis::detail::read_redirect;
using Kind = larder::redis::detail::Redirect::Kind;

TEST_CASE("MOVED and ASK name a slot and a node") {
  struct Case {
    std::string_view failure;
    Kind kind;
    std::size_t slot;
    std::string_view host;
    int port;
  };
  for (const Case& expected : {
           Case{"MOVED 3300 127.0.0.1:17100", Kind::moved, 3300, "127.0.0.1", 17100},
           Case{"ASK 0 10.0.0.7:1", Kind::ask, 0, "10.0.0.7", 1},
           Case{"MOVED 16383 node-3.cache.example.com:65535", Kind::moved, 16383, "node-3.cache.example.com", 65535},
           Case{"MOVED 3300 ::1:17100", Kind::moved, 3300, "::1", 17100},
           Case{"ASK 3300 fe80::1%eth0:17100", Kind::ask, 3300, "fe80::1%eth0", 17100},
           Case{"MOVED 3300 :17100", Kind::moved, 3300, "", 17100},
           Case{"MOVED 3300 ?:17102", Kind::moved, 3300, "", 17102},
       }) {
    CAPTURE(expected.failure);
    const auto redirect = read_redirect(expected.failure);
    REQUIRE(redirect);
    CHECK(redirect->kind == expected.kind);
    CHECK(redirect->slot == expected.slot);
    CHECK(redirect->to.host == expected.host);
    CHECK(redirect->to.port == expected.port);
  }
  CHECK(read_redirect("CLUSTERDOWN The cluster is down")->kind == Kind::down);
  CHECK(read_redirect("CLUSTERDOWN")->kind == Kind::down);
}

TEST_CASE("what makes no sense is no redirect") {
  using namespace std::string_literals;
  for (const std::string& failure : {
           ""s,
           "MO"s,
           "MOVED"s,
           "MOVED "s,
           "MOVED 3300"s,
           "MOVED 3300 "s,
           "MOVED 3300 127.0.0.1"s,
           "MOVED 3300 127.0.0.1:"s,
           "MOVED 3300 127.0.0.1:0"s,
           "MOVED 3300 127.0.0.1:65536"s,
           "MOVED 3300 127.0.0.1:-1"s,
           "MOVED 3300 127.0.0.1:80x"s,
           "MOVED 3300 127.0.0.1:99999999999999999999"s,
           "MOVED -1 127.0.0.1:17100"s,
           "MOVED 16384 127.0.0.1:17100"s,
           "MOVED x 127.0.0.1:17100"s,
           "MOVED 33 00 127.0.0.1:17100"s,
           "MOVED  3300 127.0.0.1:17100"s,
           "MOVED 3300 two words:17100"s,
           "MOVED 3300 nul\0:17100"s,
           "MOVED 3300 \xFF\xFE:17100"s,
           "MOVED 3300 "s + std::string(65536, 'h') + ":17100",
           "MOVEDX 3300 127.0.0.1:17100"s,
           "moved 3300 127.0.0.1:17100"s,
           "ERR MOVED 3300 127.0.0.1:17100"s,
           "TRYAGAIN Multiple keys request during rehashing of slot"s,
           "CROSSSLOT Keys in request don't hash to the same slot"s,
       }) {
    CAPTURE(failure.substr(0, 100));
    CHECK_FALSE(read_redirect(failure));
  }
}
