#include <larder/redis/tls.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <larder/redis/pool.hpp>
#include <larder/redis_cache.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../cache_contract.hpp"
#include "support/catch.hpp"
#include "support/faults.hpp"
#include "support/redis_process.hpp"
#include "support/tls.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::RedisCache;
using larder::redis::Options;
using larder::redis::TlsVerify;

namespace {

/// "" if a value goes there and back, else the message.
std::string problem_with(const Options& options) {
  RedisCache cache(make_pool(options));
  try {
    cache.set("key", "value of key");
    return cache.get("key") == "value of key" ? "" : "a wrong value";
  } catch (const ConnectionError& error) {
    return error.what();
  }
}

void copy(const std::string& from, const std::string& to) {
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
}

/// What a program writes; it has to end well.
std::string output_of(const std::string& command) {
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("popen");
  std::string output;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF;) output += static_cast<char>(c);
  if (::pclose(pipe) != 0) throw std::runtime_error(command + " failed: " + output);
  return output;
}

/// What the program says that knows nothing but a URL, and is linked with TLS or without it.
std::string said_by(const std::string& program, const std::string& url, const std::string& environment = {}) {
  return output_of(environment + " URL='" + url + "' " LARDER_TLS_PROGRAMS + program);
}

}  // namespace

TEST_CASE("a server is believed if a trusted CA has signed its certificate for the host that was meant") {
  struct Case {
    const char* certificate;
    const char* host;
    const char* name;
    TlsVerify verify;
    const char* problem;  // "" for none
  };
  const auto full = TlsVerify::full, ca = TlsVerify::ca, none = TlsVerify::none;
  const Case cases[] = {
      {"server", "127.0.0.1", "", full, ""},
      {"server", "localhost", "", full, ""},
      {"server", "127.0.0.1", "localhost", full, ""},
      {"server", "127.0.0.1", "127.0.0.1", full, ""},
      {"server", "127.0.0.1", "LOCALHOST", full, ""},
      {"server", "127.0.0.1", "::1", full, ""},
      {"server", "127.0.0.1", "elsewhere.test", full, "is not for elsewhere.test"},
      {"server", "127.0.0.1", "127.0.0.2", full, "is not for 127.0.0.2"},
      {"server", "127.0.0.1", "elsewhere.test,localhost", full, ""},  // any of them
      {"server", "127.0.0.1", "elsewhere.test,127.0.0.1", full, ""},
      {"server", "127.0.0.1", "elsewhere.test,127.0.0.2", full, "is not for elsewhere.test,127.0.0.2"},
      {"server", "127.0.0.1", ",", full, "is not for"},
      {"wrong-name", "localhost", "", full, "is not for localhost"},  // whatever the subject says
      {"wrong-name", "localhost", "", ca, ""},
      {"wrong-name", "127.0.0.1", "", full, ""},
      {"wrong-name", "127.0.0.1", "elsewhere.test", full, ""},
      {"wrong-address", "127.0.0.1", "", full, "is not for 127.0.0.1"},
      {"wrong-address", "127.0.0.1", "", ca, ""},
      {"wrong-address", "localhost", "", full, ""},
      {"only-subject", "localhost", "", full, ""},
      {"only-subject", "127.0.0.1", "", full, "is not for 127.0.0.1"},
      {"wildcard", "127.0.0.1", "a.example.test", full, ""},
      {"wildcard", "127.0.0.1", "a.b.example.test", full, "is not for a.b.example.test"},
      {"wildcard", "127.0.0.1", "example.test", full, "is not for example.test"},
      {"expired", "127.0.0.1", "", full, "certificate has expired"},
      {"expired", "127.0.0.1", "", ca, "certificate has expired"},
      {"expired", "127.0.0.1", "", none, ""},
      {"of-other-ca", "127.0.0.1", "", full, "unable to get local issuer certificate"},
      {"of-other-ca", "127.0.0.1", "", ca, "unable to get local issuer certificate"},
      {"of-other-ca", "127.0.0.1", "", none, ""},
      {"self-signed", "127.0.0.1", "", full, "self"},
      {"self-signed", "127.0.0.1", "", none, ""},
  };
  std::string served;
  std::optional<TlsRedis> redis;
  for (const Case& each : cases) {
    if (served != each.certificate) redis.emplace(served = each.certificate);
    Options options = redis->tls_options();
    options.host = each.host;
    options.tls_server_name = each.name;
    options.tls_verify = each.verify;
    INFO(each.certificate << " for " << each.host << ", name " << each.name);
    const std::string problem = problem_with(options);
    if (*each.problem == '\0') {
      CHECK(problem == "");
    } else {
      CHECK_THAT(problem, ContainsSubstring(each.problem));
    }
  }
}

TEST_CASE("the CAs are those of the system, or those that are given in their place") {
  TlsRedis redis;
  Options options = redis.tls_options();
  SECTION("a file with several") {
    options.tls_ca_file = certificate("both-cas.pem");
    CHECK(problem_with(options) == "");
  }
  SECTION("a folder") {
    const TempDir dir;
    copy(certificate("ca.pem"), dir.path() + "/ca.pem");
    output_of("openssl rehash " + dir.path());
    options.tls_ca_file.clear();
    options.tls_ca_path = dir.path();
    CHECK(problem_with(options) == "");
    options.tls_ca_file = certificate("other-ca.pem");
    CHECK(problem_with(options) == "");
  }
  SECTION("those of the system do not know the server") {
    options.tls_ca_file.clear();
    CHECK_THAT(problem_with(options), ContainsSubstring("the server's certificate is refused: "));
  }
  SECTION("those of the system know it") {
    const std::string known = "SSL_CERT_FILE=" + certificate("ca.pem");
    const std::string url = "rediss://127.0.0.1:" + std::to_string(options.port);
    CHECK(said_by("tls_first", url, known) == "value of key\n");
    CHECK_THAT(said_by("tls_first", url + "?tls_ca_file=" + certificate("other-ca.pem"), known),
               ContainsSubstring("the server's certificate is refused: "));
  }
  SECTION("a file that is not there") {
    options.tls_ca_file = "/nonexistent/ca.pem";
    CHECK_THAT(problem_with(options), ContainsSubstring("tls_ca_file: cannot be used: No such file or directory"));
  }
  SECTION("a file that has none") {
    options.tls_ca_file = certificate("ca.key");
    CHECK_THAT(problem_with(options), ContainsSubstring("tls_ca_file: cannot be used: "));
  }
}

TEST_CASE("a server that wants the client's certificate says what is wrong with it") {
  const std::string version = GENERATE(as<std::string>(), "TLSv1.2", "TLSv1.3");
  TlsRedis redis("server", {"--tls-auth-clients", "yes", "--tls-protocols", version});
  Options options = redis.tls_options();
  const auto with = [&](const std::string& file, const std::string& key) {
    options.tls_cert_file = certificate(file);
    options.tls_key_file = key.empty() ? "" : certificate(key);
    return problem_with(options);
  };
  CHECK(with("client.pem", "client.key") == "");
  CHECK(with("client-with-key.pem", "") == "");
  CHECK_THAT(with("client.pem", "encrypted.key"),
             ContainsSubstring("tls_key_file: is encrypted; it must be a key without a passphrase"));
  CHECK_THAT(with("client.pem", "server.key"), ContainsSubstring("tls_key_file: cannot be used: "));
  CHECK_THAT(with("client.pem", "nonexistent"), ContainsSubstring("tls_key_file: cannot be used: No such file"));
  CHECK_THAT(with("client.pem", ""),
             ContainsSubstring("tls_cert_file: the key in it (there is no tls_key_file): cannot be used: "));
  CHECK_THAT(with("nonexistent", "client.key"), ContainsSubstring("tls_cert_file: cannot be used: No such file"));
  for (int i = 0; i < 20; ++i) {  // the answer and the end of the connection race each other
    CHECK_THAT(with("client-of-other-ca.pem", "client-of-other-ca.key"),
               ContainsSubstring("the server refuses TLS: ") && ContainsSubstring("unknown ca"));
    options.tls_cert_file.clear();
    options.tls_key_file.clear();
    CHECK_THAT(problem_with(options), ContainsSubstring("the server refuses TLS: "));
  }
  CHECK(redis.ask({"PING"}) == "PONG");
}

TEST_CASE("a certificate is refused once for each attempt to connect") {
  RedisProcess redis;
  TlsFront::Settings settings;
  SECTION("by the server") {
    settings.wants_certificate = true;
    TlsFront front(redis.address(), settings);
    CHECK_THAT(problem_with(front.options()), ContainsSubstring("the server refuses TLS: "));
    CHECK(front.accepted() == 1);
  }
  SECTION("by the client") {
    settings.certificate = "of-other-ca";
    TlsFront front(redis.address(), settings);
    CHECK_THAT(problem_with(front.options()), ContainsSubstring("the server's certificate is refused: "));
    CHECK(front.accepted() == 1);
  }
}

TEST_CASE("nothing older than TLS 1.2 is spoken") {
  RedisProcess redis;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsFront::Settings settings;
    settings.version = version;
    TlsFront front(redis.address(), settings);
    CHECK(problem_with(front.options()) == "");
  }
  TlsFront::Settings settings;
  settings.version = TLS1_1_VERSION;
  TlsFront front(redis.address(), settings);
  CHECK_THAT(problem_with(front.options()),
             ContainsSubstring("the server refuses TLS: ") && ContainsSubstring("version"));
}

TEST_CASE("messages ask the right question where the other side does not speak TLS, or does") {
  TlsRedis redis;
  Address plain;
  SECTION("a Redis that waits for the rest of what it takes for a command") {
    RedisProcess other({}, RedisProcess::on_both);
    Options options = tls_options(other.tcp_address());
    options.connect_timeout = 200ms;
    CHECK_THAT(problem_with(options), ContainsSubstring("does this port speak TLS?"));
  }
  SECTION("a server that answers in plain text") {
    ScriptedServer server({Script().send("-ERR go away\r\n").ignore(), Script().send("-ERR go away\r\n").ignore()},
                          ScriptedServer::on_tcp);
    CHECK_THAT(problem_with(tls_options(server.address())), ContainsSubstring("does this port speak TLS?"));
  }
  SECTION("a server that closes") {
    ScriptedServer server({Script().close(), Script().close()}, ScriptedServer::on_tcp);
    CHECK_THAT(problem_with(tls_options(server.address())), ContainsSubstring("does this port speak TLS?"));
  }
  SECTION("redis:// and a port that speaks TLS") {
    CHECK_THAT(problem_with(redis.tls_address().options()), ContainsSubstring("does this port speak TLS (rediss://)?"));
    TlsFront front(redis.address());
    CHECK_THAT(problem_with(front.address().options()), ContainsSubstring("TLS"));
  }
}

TEST_CASE("certificates that are replaced on disk are used from the next connection on") {
  TlsRedis redis("server", {"--tls-auth-clients", "yes"});
  const TempDir dir;
  Options options = redis.tls_options();
  options.connections = 1;
  options.tls_ca_file = dir.path() + "/ca.pem";
  options.tls_cert_file = dir.path() + "/client.pem";
  options.tls_key_file = dir.path() + "/client.key";
  copy(certificate("ca.pem"), options.tls_ca_file);
  copy(certificate("client-of-other-ca.pem"), options.tls_cert_file);
  copy(certificate("client-of-other-ca.key"), options.tls_key_file);
  RedisCache cache(make_pool(options));
  const auto get = [&] { return cache.get("key"); };
  const auto get_when_it_may_connect = [&] {
    redis.kill_clients();
    return eventually([&] {
      Tally tally;
      return tally.call(1s, get);
    });
  };
  CHECK_THROWS_AS(get(), ConnectionError);
  copy(certificate("client.pem"), options.tls_cert_file);
  copy(certificate("client.key"), options.tls_key_file);
  CHECK(get_when_it_may_connect());

  // Half of a change is none.
  copy(certificate("client-of-other-ca.pem"), options.tls_cert_file);
  std::ofstream(options.tls_ca_file) << "-----BEGIN CERT";
  CHECK(get_when_it_may_connect());
  std::filesystem::remove(options.tls_ca_file);
  CHECK(get_when_it_may_connect());

  copy(certificate("ca.pem"), options.tls_ca_file);
  copy(certificate("client-of-other-ca.key"), options.tls_key_file);
  redis.kill_clients();
  CHECK_THROWS_AS(get(), ConnectionError);
}

TEST_CASE("tls.hpp works in all of a program, in whichever translation unit it is included") {
  TlsRedis redis;
  const std::string url =
      "rediss://127.0.0.1:" + std::to_string(redis.tls_address().port) + "?tls_ca_file=" + certificate("ca.pem");
  for (const std::string program : {"tls_first", "tls_last", "tls_in_archive"}) {
    INFO(program);
    CHECK(said_by(program, url) == "value of key\n");
  }
  for (const char* const absent : {"rediss://127.0.0.1:1", "rediss+cluster://127.0.0.1:1,127.0.0.1:2",
                                   "rediss+sentinel://127.0.0.1:1,127.0.0.1:2/main"}) {
    INFO(absent);
    CHECK(said_by("tls_absent", absent) ==
          "tls: needs #include <larder/redis/tls.hpp> and OpenSSL (CMake: larder::tls)\n");
  }
}

TEST_CASE("a borrowed context that uses TLS is refused, and the message says what to do") {
#if HIREDIS_MAJOR >= 1
  RedisProcess redis;
  const Context context = connect(redis.address());
  int stands_for_tls = 0;
  context->privctx = &stands_for_tls;
  CHECK_THROWS_WITH(RedisCache(context.get()), ContainsSubstring("rediss://"));
  context->privctx = nullptr;
#endif
}

namespace {

/// A cache over TLS, and what the server says of it.
class OverTls : public Subject {
 public:
  OverTls(TlsRedis& redis, const std::string& prefix) : redis_(redis), prefix_(prefix) {
    redis_.ask({"FLUSHALL"});
    Options options = redis.tls_options();
    options.command_timeout = 60s;
    cache_.emplace(make_pool(options), prefix);
  }
  larder::BaseCache& cache() override { return *cache_; }
  std::optional<milliseconds> time_left(std::string_view key) override {
    const long long left = std::stoll(redis_.ask({"PTTL", prefix_ + std::string(key)}));
    if (left == -2) throw std::runtime_error("the key is not there");
    if (left == -1) return std::nullopt;
    return milliseconds(left);
  }

 private:
  TlsRedis& redis_;
  const std::string prefix_;
  std::optional<RedisCache> cache_;
};

}  // namespace

TEST_CASE("a cache over TLS 1.2 keeps the contract of BaseCache") {
  static TlsRedis redis("server", {"--tls-protocols", "TLSv1.2"});
  OverTls subject(redis, "");
  check_contract(subject);
}

TEST_CASE("a cache over TLS 1.3 keeps the contract of BaseCache") {
  static TlsRedis redis("server", {"--tls-protocols", "TLSv1.3"});
  OverTls subject(redis, "tls:");
  check_contract(subject);
}
