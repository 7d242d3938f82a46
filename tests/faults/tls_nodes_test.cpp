// Clusters and sentinels that speak TLS and nothing else.

#include <larder/redis/tls.hpp>

#include <cstddef>
#include <larder/redis_cache.hpp>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/contract_subjects.hpp"
#include "support/faults.hpp"
#include "support/tls.hpp"
#include "support/versioned_load.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::RedisCache;

namespace {

const std::string& with_ca() {
  static const std::string options = "tls_ca_file=" + certificate("ca.pem");
  return options;
}
std::string patient() { return with_ca() + "&command_timeout=60s"; }

RedisCluster tls_cluster(std::size_t primaries, const std::string& name = "server") {
  return RedisCluster(primaries, 0, tls_server_options(name, RedisCluster::patient), RedisProcess::on_tls);
}
RedisSentinels::Settings tls_settings(const std::string& name = "server") {
  return {"s3cr3t", "s3cr3t-too", tls_server_options(name), RedisProcess::on_tls};
}
RedisSentinels tls_sentinels(std::size_t replicas, std::size_t sentinels, const std::string& name = "server") {
  return {replicas, sentinels, tls_settings(name)};
}
std::string sentinels_password() { return "sentinel_password=s3cr3t-too&"; }

template <std::size_t nodes>
RedisCluster& cluster() {
  static RedisCluster shared = tls_cluster(nodes);
  return shared;
}

struct OnOneNode : OnCluster {
  OnOneNode() : OnCluster(cluster<1>(), patient()) {}
};
struct OnThreeNodes : OnCluster {
  OnThreeNodes() : OnCluster(cluster<3>(), patient()) {}
};
struct OnThreeNodesWithTag : OnCluster {
  OnThreeNodesWithTag() : OnCluster(cluster<3>(), patient(), "{tag}:") {}
};

/// "" if keys of all nodes go there and come back, else the message.
std::string problem_with(const std::string& url) {
  RedisCache cache(url);
  try {
    for (std::size_t i = 0; i < 20; ++i) cache.set(key(i), value_of(key(i)));
    for (std::size_t i = 0; i < 20; ++i) {
      if (cache.get(key(i)) != value_of(key(i))) return "a wrong value";
    }
    return "";
  } catch (const ConnectionError& error) {
    return error.what();
  }
}

std::string at_localhost(const char* scheme, int port) { return scheme + ("://localhost:" + std::to_string(port)); }

}  // namespace

TEMPLATE_TEST_CASE("a cache on a cluster over TLS keeps the contract of BaseCache", "", OnOneNode, OnThreeNodes,
                   OnThreeNodesWithTag) {
  TestType subject;
  check_contract(subject);
}

TEST_CASE("a node's certificate is for where the node is announced, or for a host of the URL") {
  RedisCluster nodes = tls_cluster(2, "wrong-address");  // for localhost, and not for 127.0.0.1
  const std::string url = at_localhost("rediss+cluster", nodes.port(0)) + "?" + with_ca();
  CHECK(problem_with(url) == "");
  CHECK_THAT(problem_with(nodes.url(with_ca())), ContainsSubstring("is not for 127.0.0.1"));
  CHECK(problem_with(nodes.url(with_ca() + "&tls_server_name=localhost")) == "");
  CHECK(problem_with(nodes.url(with_ca() + "&tls_verify=ca")) == "");

  const auto give = [&](std::size_t node, const std::string& name) {
    const std::string file = certificate(name + ".pem"), key_file = certificate(name + ".key");
    REQUIRE(nodes.node(node).ask({"CONFIG", "SET", "tls-cert-file", file, "tls-key-file", key_file}) == "OK");
  };
  give(1, "wrong-name");  // for 127.0.0.1, and not for localhost
  CHECK(problem_with(url) == "");
  give(1, "of-other-ca");
  CHECK_THAT(problem_with(url), ContainsSubstring("the server's certificate is refused: "));
}

TEST_CASE("slots move over TLS, and nobody sees it") {
  RedisCluster nodes = tls_cluster(2);
  RedisCache cache(nodes.url(patient()));
  VersionedLoad load(cache, 4);
  for (std::size_t thread = 0; thread < 4; ++thread) {
    const auto slot = RedisCluster::slot_of(nodes.node(0), VersionedLoad::key(thread, 0));
    const std::size_t from = nodes.first_owner(slot);
    nodes.begin_move(slot, from, 1 - from);
    load.await_turns(20);
    while (nodes.move_keys(slot, from, 1 - from, 1)) load.await_turns(2);
    nodes.end_move(slot, from, 1 - from);
  }
  load.await_turns(20);
  const auto seen = load.finish();
  INFO(seen.text());
  CHECK(seen.errors == 0);
  CHECK(seen.wrong == 0);
  CHECK(seen.stale == 0);
  CHECK(seen.lost == 0);
}

TEST_CASE("a cache behind sentinels over TLS keeps the contract of BaseCache") {
  static RedisSentinels redis = tls_sentinels(0, 1);
  BehindSentinels subject(redis, sentinels_password() + patient(), ":s3cr3t@");
  check_contract(subject);
}

TEST_CASE("a certificate behind sentinels is for the address that they tell, or for a host of the URL") {
  RedisSentinels redis = tls_sentinels(0, 1, "wrong-address");
  const std::string options = "?" + sentinels_password() + with_ca();
  CHECK(problem_with("rediss+sentinel://:s3cr3t@localhost:" + std::to_string(redis.sentinel_port(0)) + "/main" +
                     options) == "");
  CHECK_THAT(
      problem_with("rediss+sentinel://:s3cr3t@127.0.0.1:" + std::to_string(redis.sentinel_port(0)) + "/main" + options),
      ContainsSubstring("is not for 127.0.0.1"));
}

TEST_CASE("the primary behind sentinels changes over TLS, without an error") {
  RedisSentinels redis = tls_sentinels(1, 1);
  RedisCache cache(redis.url(sentinels_password() + patient() + "&sentinel_check=100ms", ":s3cr3t@"));
  VersionedLoad load(cache, 4);
  redis.fail_over();
  REQUIRE(eventually([&] { return redis.named_by(0) == redis.port(1); }));
  load.await_turns(200);
  REQUIRE(eventually([&] { return redis.node(1).calls_of("get") > 100; }));
  const auto seen = load.finish();
  INFO(seen.text());
  CHECK(seen.errors == 0);
  CHECK(seen.wrong == 0);
}

TEST_CASE("sentinels may be plain where the primary speaks TLS") {
  auto settings = tls_settings();
  settings.are_sentinels_plain = true;
  RedisSentinels redis(1, 1, settings);
  const std::string options = sentinels_password() + patient() + "&sentinel_check=100ms";
  CHECK_THAT(problem_with(redis.url(options, ":s3cr3t@")), ContainsSubstring("does this port speak TLS?"));
  RedisCache cache(redis.url(options + "&sentinel_tls=false", ":s3cr3t@"));
  VersionedLoad load(cache, 4);
  redis.fail_over();
  REQUIRE(eventually([&] { return redis.named_by(0) == redis.port(1); }));
  REQUIRE(eventually([&] { return redis.node(1).calls_of("get") > 100; }));
  const auto seen = load.finish();
  INFO(seen.text());
  CHECK(seen.errors == 0);
  CHECK(seen.wrong == 0);
  CHECK_THAT(problem_with(redis.url(sentinels_password() + "sentinel_tls=false", ":s3cr3t@")),
             ContainsSubstring("the server's certificate is refused: "));
}
