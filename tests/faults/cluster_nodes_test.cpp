// Real nodes of a cluster that die, restart, or call themselves by other names. Every value names its key.

#include <larder/redis/cluster.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/faults.hpp"
#include "support/redis_cluster.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::RedisCache;
using larder::ServerError;

namespace {

constexpr std::size_t count = 60;  // keys, on all nodes

void store(larder::BaseCache& cache) {
  for (std::size_t i = 0; i < count; ++i) cache.set(key(i), value_of(key(i)));
}
bool are_right(larder::BaseCache& cache) {
  for (std::size_t i = 0; i < count; ++i) {
    if (cache.get(key(i)) != value_of(key(i))) return false;
  }
  return true;
}

std::vector<std::string> patient(const std::vector<std::string>& more) {
  auto options = RedisCluster::patient;
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

std::string key_of(RedisCluster& cluster, std::size_t node) {
  std::size_t number = 0;
  while (cluster.first_owner_of(key(number)) != node) ++number;
  return key(number);
}

/// The keys that other nodes have.
std::vector<std::string> keys_of_others(RedisCluster& cluster, std::size_t node) {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < count; ++i) {
    if (cluster.first_owner_of(key(i)) != node) keys.push_back(key(i));
  }
  return keys;
}

/// Where the map of a cache leads: the address in the message once the node has gone.
std::string message_without(RedisCluster& cluster, larder::BaseCache& cache, std::size_t node) {
  cluster.node(node).kill();
  return message_of<ConnectionError>([&] { cache.get(key_of(cluster, node)); });
}

/// Whether the map led to the right nodes: none has passed a command on.
bool was_map_right(RedisCluster& cluster) {
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    if (cluster.node(i).ask({"INFO", "errorstats"}).find("errorstat_MOVED") != std::string::npos) return false;
  }
  return true;
}

/// Follows one MOVED.
bool is_found_after_move(RedisCluster& cluster, larder::BaseCache& cache) {
  const std::string name = key_of(cluster, 0);
  cluster.move(RedisCluster::slot_of(cluster.node(0), name), 0, 1);
  return cache.get(name) == value_of(name);
}

}  // namespace

TEST_CASE("a node restarts with what it had: its keys are served again, those of others all the time") {
  RedisCluster cluster(3, 0, patient({"--appendonly", "yes", "--appendfsync", "always"}));
  RedisCache cache(cluster.url("command_timeout=60s"));
  store(cache);
  const std::string name = key_of(cluster, 1);
  const auto others = keys_of_others(cluster, 1);
  Load load(4, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    tally.get(cache, others[(thread + turn) % others.size()], 2s);
  });
  cluster.node(1).kill();
  CHECK_THROWS_AS(cache.get(name), ConnectionError);
  cluster.node(1).add_options({"--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"});
  cluster.node(1).start();
  std::set<std::string> codes;
  const bool is_back = eventually([&] {
    try {
      return cache.get(name) == value_of(name);
    } catch (const ServerError& error) {
      codes.insert(error.code());
    } catch (const ConnectionError&) {
    }
    return false;
  });
  CHECK(is_back);
  codes.erase("LOADING");
  CHECK(codes == std::set<std::string>{"CLUSTERDOWN"});  // it waits for the others to agree
  CHECK(are_right(cache));
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.hits == tally.calls);
}

TEST_CASE("without full coverage the keys of a dead node fail within their budget, and all others are served") {
  const bool freezes = GENERATE(false, true);
  RedisCluster cluster(3, 0, {"--cluster-require-full-coverage", "no", "--cluster-node-timeout", "3000"});
  RedisCache hasty(cluster.url("command_timeout=250ms&connect_timeout=250ms"));
  RedisCache cache(cluster.url("command_timeout=60s"));
  store(cache);
  const std::string name = key_of(cluster, 0);
  const auto others = keys_of_others(cluster, 0);
  Load load(6, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    tally.get(cache, others[(thread + turn) % others.size()], 2s);
  });
  const auto check_failures = [&] {
    for (int i = 0; i < 5; ++i) {
      const std::string message = within(500ms, [&] { return message_of<ConnectionError>([&] { hasty.get(name); }); });
      CHECK_THAT(message, ContainsSubstring(cluster.address(0)));
      CHECK(message.find(name) == std::string::npos);
    }
  };
  freezes ? cluster.node(0).freeze() : cluster.node(0).kill();
  check_failures();
  for (const std::size_t witness : {1U, 2U}) {
    CHECK(eventually([&] {
      return cluster.node(witness).ask({"CLUSTER", "NODES"}).find("master,fail ") != std::string::npos;
    }));
  }
  check_failures();
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.hits == tally.calls);
  if (freezes) cluster.node(0).thaw();
}

TEST_CASE("a slot that nobody has is the server's error, and is found when a node gets it") {
  RedisCluster cluster(3, 0, patient({"--cluster-require-full-coverage", "no"}));
  RedisCache cache(cluster.url());
  store(cache);
  const std::string name = key_of(cluster, 1);
  const std::string slot = std::to_string(RedisCluster::slot_of(cluster.node(0), name));
  REQUIRE(eventually([&] {
    bool is_gone = true;
    for (const std::size_t node : {1U, 0U, 2U}) {
      cluster.node(node).ask({"CLUSTER", "DELSLOTS", slot});
      is_gone = is_gone && cluster.node(node).ask({"GET", name}) == "CLUSTERDOWN Hash slot not served";
    }
    return is_gone;
  }));
  CHECK(code_of([&] { cache.get(name); }) == "CLUSTERDOWN");
  CHECK(code_of([&] { cache.set(name, "no"); }) == "CLUSTERDOWN");
  REQUIRE(cluster.node(2).ask({"CLUSTER", "ADDSLOTS", slot}) == "OK");
  CHECK(eventually([&] { return code_of([&] { cache.set(name, value_of(name)); }) == "no error"; }));
  CHECK(are_right(cache));
  CHECK(cluster.node(2).ask({"GET", name}) == value_of(name));
}

TEST_CASE("nodes are found by the names that they announce, or else at the host that was named") {
  struct Case {
    std::string type, seed, found_at;
  };
  const auto given =
      GENERATE(Case{"unknown-endpoint", "localhost", "localhost"}, Case{"unknown-endpoint", "127.0.0.1", "127.0.0.1"},
               Case{"hostname", "127.0.0.1", "localhost"});
  RedisCluster cluster(
      3, 0, patient({"--cluster-preferred-endpoint-type", given.type, "--cluster-announce-hostname", "localhost"}));
  if (given.type == "hostname") {  // they learn it from each other after they have met
    REQUIRE(eventually([&] { return cluster.named_in_map("localhost") == 3; }));
  }
  RedisCache cache("redis+cluster://" + given.seed + ":" + std::to_string(cluster.port(0)));
  store(cache);
  CHECK(are_right(cache));
  CHECK(was_map_right(cluster));
  CHECK(is_found_after_move(cluster, cache));
  CHECK_THAT(message_without(cluster, cache, 2),
             ContainsSubstring(given.found_at + ":" + std::to_string(cluster.port(2))));
}

TEST_CASE("nodes on IPv6") {
  if (!has_ipv6()) SKIP("there is no IPv6");
  RedisCluster cluster(3, 0, patient({"--bind", "127.0.0.1", "::1", "--cluster-announce-ip", "::1"}));
  REQUIRE(eventually([&] { return cluster.named_in_map("::1") == 3; }));
  RedisCache cache("redis+cluster://[::1]:" + std::to_string(cluster.port(0)) + "?client_name=on-ipv6");
  store(cache);
  CHECK(are_right(cache));
  CHECK(was_map_right(cluster));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(cluster.node(i).clients_with("addr=[::1]:").size() == cluster.node(i).clients_with("name=on-ipv6").size());
    CHECK(cluster.node(i).clients_with("name=on-ipv6").size() != 0);
  }
  CHECK(is_found_after_move(cluster, cache));
  CHECK_THAT(message_without(cluster, cache, 2), ContainsSubstring("[::1]:" + std::to_string(cluster.port(2))));
}

TEST_CASE("fork: children make connections of their own to all nodes, and their parent's go on unharmed") {
  RedisCluster cluster(3, 0, RedisCluster::patient);
  auto cache = std::make_unique<RedisCache>(cluster.url("client_name=larder-test&connections=1"));
  store(*cache);
  const auto connections = [&] {
    std::vector<std::set<std::string>> ids;
    for (std::size_t i = 0; i < 3; ++i) ids.push_back(cluster.node(i).clients_with("name=larder-test"));
    return ids;
  };
  const auto before = connections();
  std::vector<Child> children;
  for (int i = 0; i < 4; ++i) {
    children.emplace_back([&] {
      bool well = true;
      for (int turn = 0; turn < 5; ++turn) well = are_right(*cache) && well;
      cache.reset();
      return well;
    });
  }
  for (int turn = 0; turn < 20; ++turn) CHECK(are_right(*cache));
  for (const auto& child : children) CHECK(child.was_well());
  CHECK(are_right(*cache));
  CHECK(eventually([&] { return connections() == before; }));
  for (const auto& ids : before) CHECK(ids.size() == 1);
}
