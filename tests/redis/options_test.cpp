#include <larder/error.hpp>
#include <larder/redis/options.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using larder::InvalidArgument;
using larder::redis::Options;
using larder::redis::TlsVerify;
using namespace std::chrono_literals;

namespace {

Options from(std::string_view url) { return Options::from_url(url); }

/// The message with which a URL is refused; it never shows what is secret.
std::string refusal(std::string_view url) {
  try {
    Options::from_url(url);
  } catch (const InvalidArgument& error) {
    const std::string message = error.what();
    CHECK(message.find("s3cr3t") == std::string::npos);
    return message;
  }
  return "accepted";
}

struct Refused {
  const char* url;
  const char* part;  // what the message names
};

}  // namespace

TEST_CASE("the defaults are those of a local Redis, with finite times") {
  const Options options;
  CHECK(options.host == "127.0.0.1");
  CHECK(options.port == 6379);
  CHECK(options.database == 0);
  CHECK(options.connections == 4);
  CHECK((options.unix_socket + options.username + options.password + options.client_name).empty());
  CHECK(options.connect_timeout == 500ms);
  CHECK(options.command_timeout == 1s);
  CHECK_NOTHROW(options.validate());

  const Options bare = from("redis://");
  CHECK(bare.host == options.host);
  CHECK(bare.port == options.port);
  CHECK(bare.max_reply_bytes == options.max_reply_bytes);
  CHECK(bare.busy_poll == options.busy_poll);
}

TEST_CASE("a URL names the host, the port and the database") {
  const Options options = from("redis://cache.example:7000/3");
  CHECK(options.host == "cache.example");
  CHECK(options.port == 7000);
  CHECK(options.database == 3);
  CHECK(from("redis://cache.example").port == 6379);
  CHECK(from("redis://cache.example/").database == 0);
  CHECK(from("redis://:7000").host == "127.0.0.1");
  CHECK(from("redis:///5").database == 5);
  CHECK(from("redis://h?db=4").database == 4);
  CHECK(from("redis://h/?database=4").database == 4);
}

TEST_CASE("valkey:// is redis://") {
  const Options options = from("valkey://user:pass@cache.example:7000/3?connections=2");
  CHECK(options.host == "cache.example");
  CHECK(options.username == "user");
  CHECK(options.database == 3);
  CHECK(options.connections == 2);
  CHECK(refusal("valkeys://h") == refusal("rediss://h"));
}

TEST_CASE("the path of a unix socket is no longer than the system takes it") {
  const std::string longest = "/" + std::string(sizeof(sockaddr_un::sun_path) - 2, 'p');
  CHECK(from("unix://" + longest).unix_socket == longest);
  const std::string message = refusal("unix://" + longest + "p");
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring("unix_socket"));
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring(std::to_string(longest.size())));
}

TEST_CASE("an option that does not exist is answered with those that do") {
  const std::string message = refusal("redis://h?conect_timeout=1s");
  for (const auto* part : {"conect_timeout", "connect_timeout", "database", "max_reply_bytes"}) {
    CHECK_THAT(message, Catch::Matchers::ContainsSubstring(part));
  }
  const std::string secret = refusal("redis://h?password=pa&s3cr3t=1");
  CHECK_THAT(secret, Catch::Matchers::ContainsSubstring("connect_timeout"));
}

TEST_CASE("an IPv6 address stands in brackets") {
  CHECK(from("redis://[::1]").host == "::1");
  CHECK(from("redis://[::1]").port == 6379);
  const Options options = from("redis://user:pass@[2001:db8::7]:7000/1");
  CHECK(options.host == "2001:db8::7");
  CHECK(options.port == 7000);
  CHECK(options.database == 1);
  CHECK(from("redis://[fe80::1%25eth0]:7000").host == "fe80::1%eth0");
}

TEST_CASE("a URL names the user and the password") {
  const auto user = [](std::string_view url) {
    const Options options = from(url);
    CHECK(options.host == "h");
    return std::pair(options.username, options.password);
  };
  using User = std::pair<std::string, std::string>;
  CHECK(user("redis://ann:pass@h") == User("ann", "pass"));
  CHECK(user("redis://:pass@h:7000/2") == User("", "pass"));
  CHECK(user("redis://ann@h") == User("ann", ""));
  CHECK(user("redis://ann:@h") == User("ann", ""));
  CHECK(user("redis://@h") == User("", ""));
  CHECK(user("redis://a:b:c@h") == User("a", "b:c"));
  CHECK(user("redis://%61nn%40home:%70%2F%3a%25%00%ff@h") == User("ann@home", std::string("p/:%\0\xFF", 6)));
  CHECK(user("redis://h?username=ann&password=p%26q") == User("ann", "p&q"));
  CHECK(user("redis://ann+bob:a+b@h") == User("ann+bob", "a+b"));
}

TEST_CASE("a URL names a unix socket") {
  const Options options = from("unix:///run/redis/redis.sock?db=2");
  CHECK(options.unix_socket == "/run/redis/redis.sock");
  CHECK(options.database == 2);
  CHECK(from("unix:///tmp/a%20b%3F.sock").unix_socket == "/tmp/a b?.sock");
  CHECK(from("unix://ann:pass@/tmp/s").username == "ann");
  CHECK(from("unix://ann:pass@/tmp/s").password == "pass");
  CHECK(from("unix://ann:pass@/tmp/s").unix_socket == "/tmp/s");
}

TEST_CASE("every member is an option") {
  const Options options = from(
      "redis://?host=h&unix_socket=/s&username=u&password=p&client_name=n-m&port=1&database=2&connect_timeout=3ms"
      "&command_timeout=4s&connections=5&busy_poll=6us&max_reply_bytes=7&connection_lifetime=8min");
  CHECK(options.host == "h");
  CHECK(options.unix_socket == "/s");
  CHECK(options.username == "u");
  CHECK(options.password == "p");
  CHECK(options.client_name == "n-m");
  CHECK(options.port == 1);
  CHECK(options.database == 2);
  CHECK(options.connect_timeout == 3ms);
  CHECK(options.command_timeout == 4s);
  CHECK(options.connections == 5);
  CHECK(options.busy_poll == 6us);
  CHECK(options.max_reply_bytes == 7);
  CHECK(options.connection_lifetime == 8min);
}

TEST_CASE("rediss is redis with TLS, and Valkey's schemes mean the same") {
  CHECK_FALSE(Options().tls);
  CHECK_FALSE(from("redis://h").tls);
  CHECK_FALSE(from("valkey://h").tls);
  CHECK_FALSE(from("redis://h?tls=false").tls);
  CHECK(from("redis://h?tls=true").tls);
  for (const std::string scheme : {"rediss", "valkeys"}) {
    const Options options = from(scheme + "://u:p@h:7000/3");
    CHECK(options.tls);
    CHECK(options.tls_verify == TlsVerify::full);
    CHECK(options.host == "h");
    CHECK(options.port == 7000);
    CHECK(options.database == 3);
    CHECK(options.username == "u");
    CHECK(options.password == "p");
  }
  const Options options =
      from("rediss://h?tls_verify=ca&tls_server_name=n&tls_ca_file=%2Fa&tls_ca_path=b&tls_cert_file=c&tls_key_file=d");
  CHECK(options.tls_verify == TlsVerify::ca);
  CHECK(options.tls_server_name == "n");
  CHECK(options.tls_ca_file == "/a");
  CHECK(options.tls_ca_path == "b");
  CHECK(options.tls_cert_file == "c");
  CHECK(options.tls_key_file == "d");
  CHECK(from("rediss://h?tls_verify=none").tls_verify == TlsVerify::none);
  CHECK(from("rediss://h?tls_verify=full").tls_verify == TlsVerify::full);
}

TEST_CASE("a duration has a unit, and is rounded up to what its option counts in") {
  const auto timeout = [](const std::string& text) { return from("redis://?command_timeout=" + text).command_timeout; };
  CHECK(timeout("1500us") == 2ms);
  CHECK(timeout("500ms") == 500ms);
  CHECK(timeout("2s") == 2s);
  CHECK(timeout("3min") == 3min);
  CHECK(timeout("60000min") == 1000h);
  CHECK(from("redis://?busy_poll=0").busy_poll == 0us);
  CHECK(from("redis://?busy_poll=0ms").busy_poll == 0us);
  CHECK(from("redis://?busy_poll=2ms").busy_poll == 2ms);
}

TEST_CASE("what is wrong with a URL is named, and nothing of it shown") {
  const std::vector<Refused> refused{
      {"", "URL"},
      {"localhost", "redis://"},
      {"localhost:6379", "redis://"},
      {"http://u:s3cr3t@h", "redis://"},
      {"REDIS://h", "redis://"},
      {"redis:/h", "redis://"},
      {"Rediss://u:s3cr3t@h", "rediss://"},

      {"redis://h:", "port"},
      {"redis://h:0", "port"},
      {"redis://h:65536", "port"},
      {"redis://h:99999999999999999999", "port"},
      {"redis://h:-1", "port"},
      {"redis://h:+1", "port"},
      {"redis://h: 1", "port"},
      {"redis://h:63x", "port"},
      {"redis://h:0x10", "port"},
      {"redis://u:s3cr3t@h:port", "port"},
      {"redis://::1", "brackets"},
      {"redis://::1:6379", "brackets"},
      {"redis://2001:db8::7:6379/1", "brackets"},
      {"redis://u:s3cr3t:6379", "brackets"},
      {"redis://h1,h2", "redis+cluster://"},
      {"redis://h1:6379,h2:6379/1", "redis+sentinel://"},
      {"rediss://u:s3cr3t@h1,h2", "host: must be one"},
      {"redis://?host=h1,h2", "host: must be one"},
      {"redis://h1%2Ch2", "host: must be one"},
      {"redis://h?client_name=my%20app", "client_name: must not contain spaces"},
      {"redis://h?client_name=a%0Ab", "client_name"},
      {"redis://h?client_name=a%00b", "client_name"},
      {"redis://h?client_name=a%7Fb", "client_name"},
      {"redis://h?client_name=caf%C3%A9", "client_name"},
      {"redis://[::1]6379", "port"},
      {"redis://[::1]:", "port"},
      {"redis://[::1", "host"},
      {"redis://[]", "host"},
      {"redis://a%00b", "host"},
      {"redis://a%0Ab", "host"},
      {"redis://a%0D%0Ab", "host"},
      {"redis://a%7Fb", "host"},
      {"redis://a b", "host"},
      {"redis://?host=", "host"},

      {"redis://h/x", "database"},
      {"redis://h/-1", "database"},
      {"redis://h/1/2", "database"},
      {"redis://h/1/", "database"},
      {"redis://h/99999999999999999999", "database"},
      {"redis://h?db=", "database"},
      {"redis://h?db=one", "database"},
      {"redis://h?db=-1", "database"},
      {"redis://h?db=1.5", "database"},

      {"redis://u:s3cr3t%@h", "password"},
      {"redis://u:s3cr3t%4@h", "password"},
      {"redis://u:s3cr3t%zz@h", "password"},
      {"redis://u:s3cr3t%-1@h", "password"},
      {"redis://%zz:s3cr3t@h", "username"},
      {"redis://u%z:s3cr3t@h", "username"},
      {"redis://%4", "host"},
      {"unix:///a%", "unix_socket"},
      {"redis://h?client_name=%g0", "client_name"},

      {"unix://", "unix_socket"},
      {"unix://?db=1", "unix_socket"},
      {"unix://u:s3cr3t@", "unix_socket"},
      {"unix:///a%00b", "unix_socket"},
      {"unix://relative/path", "unix://"},

      {"redis://h?timeout=5s", "timeout"},
      {"redis://h?Port=5", "Port"},
      {"redis://h?=5", "option"},
      {"redis://h?db", "name=value"},
      {"redis://h?db=1&&port=1", "option"},
      {"redis://h?password=s3cr3t&password=s3cr3t2", "password"},
      {"redis://u:s3cr3t@h?password=s3cr3t", "password"},
      {"redis://u:s3cr3t@h?username=v", "username"},
      {"redis://h/1?db=1", "database"},
      {"redis://h?db=1&database=1", "database"},
      {"redis://h:1?port=1", "port"},
      {"unix:///a?unix_socket=/b", "unix_socket"},

      {"redis://h?command_timeout=500", "command_timeout"},
      {"redis://h?command_timeout=1.5s", "command_timeout"},
      {"redis://h?command_timeout=5 s", "command_timeout"},
      {"redis://h?command_timeout=5h", "command_timeout"},
      {"redis://h?command_timeout=s", "command_timeout"},
      {"redis://h?command_timeout=-5s", "command_timeout"},
      {"redis://h?command_timeout=0", "command_timeout"},
      {"redis://h?command_timeout=0ms", "command_timeout"},
      {"redis://h?command_timeout=9999999999min", "command_timeout"},
      {"redis://h?command_timeout=99999999999999999999ms", "command_timeout"},
      {"redis://h?command_timeout=1000000000min", "command_timeout"},
      {"redis://h?connect_timeout=0", "connect_timeout"},
      {"redis://h?connections=0", "connections"},
      {"redis://h?connections=-1", "connections"},
      {"redis://h?connections=many", "connections"},
      {"redis://h?max_reply_bytes=0", "max_reply_bytes"},
      {"redis://h?max_reply_bytes=1MB", "max_reply_bytes"},
      {"redis://h?busy_poll=-1us", "busy_poll"},
      {"redis://h?connection_lifetime=-1s", "connection_lifetime"},
      {"redis://h?connection_lifetime=60", "connection_lifetime"},

      {"redis://h?tls=yes", "tls"},
      {"redis://h?tls=", "tls"},
      {"redis://h?tls=1", "tls"},
      {"rediss://h?tls=false", "tls"},
      {"unix:///s?tls=true", "tls"},
      {"rediss://h?unix_socket=/s", "tls"},
      {"rediss://h?tls_verify=some", "tls_verify"},
      {"rediss://h?tls_verify=", "tls_verify"},
      {"redis://h?tls_ca_file=a", "tls"},
      {"redis://h?tls_verify=none", "tls"},
      {"rediss://h?tls_key_file=k", "tls_cert_file"},
      {"rediss://h?tls_ca_file=a%00b", "tls_ca_file"},
      {"rediss://h?tls_server_name=a%00b", "tls_server_name"},
      {"redis://h?credentials=x", "credentials"},

      {"redis://u:s3cr3t/x@h", "percent-encoded"},
      {"redis://u:s3cr3t?x@h", "percent-encoded"},
      {"redis://u:x#s3cr3t@h", "#"},
      {"redis://h#1", "#"},
  };
  for (const auto& [url, part] : refused) {
    CAPTURE(url);
    CHECK_THAT(refusal(url), Catch::Matchers::ContainsSubstring(part));
  }
}

TEST_CASE("a password that was not encoded is not taken for something else, nor shown") {
  for (const std::string byte : {"@", "/", "?", "#", "%", ":", "&", "=", "[", "]", " ", "//", "@@", "/?&", "?a=b&"}) {
    for (const std::string& password : {"s3cr3t" + byte, byte + "s3cr3t", "s3cr3t" + byte + "s3cr3t"}) {
      for (const std::string& url : {"redis://user:" + password + "@h:7000/1", "unix://user:" + password + "@/run/s"}) {
        CAPTURE(url);
        std::string understood = "refused";
        try {
          understood = Options::from_url(url).password;
        } catch (const InvalidArgument& error) {
          CHECK(std::string(error.what()).find("s3cr3t") == std::string::npos);
        }
        CHECK((understood == "refused" || understood == password));
      }
    }
  }
}

TEST_CASE("options that were set by hand are checked too") {
  const auto message = [](auto change) -> std::string {
    Options options;
    change(options);
    try {
      options.validate();
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "accepted";
  };
  using Catch::Matchers::ContainsSubstring;
  CHECK(message([](Options&) {}) == "accepted");
  CHECK_THAT(message([](Options& options) { options.host.clear(); }), ContainsSubstring("host"));
  CHECK_THAT(message([](Options& options) { options.host = std::string("a\0b", 3); }), ContainsSubstring("host"));
  CHECK_THAT(message([](Options& options) { options.port = 0; }), ContainsSubstring("port"));
  CHECK_THAT(message([](Options& options) { options.port = 65536; }), ContainsSubstring("port"));
  CHECK_THAT(message([](Options& options) { options.database = -1; }), ContainsSubstring("database"));
  CHECK_THAT(message([](Options& options) { options.connect_timeout = 0ms; }), ContainsSubstring("connect_timeout"));
  CHECK_THAT(message([](Options& options) { options.command_timeout = -1ms; }), ContainsSubstring("command_timeout"));
  CHECK_THAT(message([](Options& options) { options.command_timeout = (std::chrono::milliseconds::max)(); }),
             ContainsSubstring("command_timeout"));
  CHECK_THAT(message([](Options& options) { options.connections = 0; }), ContainsSubstring("connections"));
  CHECK_THAT(message([](Options& options) { options.busy_poll = -1us; }), ContainsSubstring("busy_poll"));
  CHECK_THAT(message([](Options& options) { options.max_reply_bytes = 0; }), ContainsSubstring("max_reply_bytes"));
}
