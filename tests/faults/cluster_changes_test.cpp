// Real clusters that change while they are used. Every value names its key and version.

#include <larder/redis/cluster.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/faults.hpp"
#include "support/redis_cluster.hpp"
#include "support/testing.hpp"
#include "support/versioned_load.hpp"

using larder::RedisCache;
using larder::testing::Clock;
using larder::testing::RedisCluster;
using larder::testing::VersionedLoad;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t threads = 8;

struct ClusterUnderLoad {
  // None of its nodes dies.
  explicit ClusterUnderLoad(std::size_t replicas_each)
      : cluster(3, replicas_each, RedisCluster::patient), cache(cluster.url(), "load:") {
    cluster.await_agreement();
  }
  // Each primary has a replica that takes over.
  explicit ClusterUnderLoad(const std::string& options) : cluster(3, 1), cache(cluster.url(options), "load:") {}

  std::size_t slot_of(const std::string& key) { return RedisCluster::slot_of(cluster.node(0), "load:" + key); }

  RedisCluster cluster;
  RedisCache cache;
};

void check_nothing_was_noticed(const char* what, const VersionedLoad::Seen& seen) {
  std::printf("%s: %s\n", what, seen.text().c_str());
  INFO(seen.text());
  CHECK(seen.errors == 0);
  CHECK(seen.wrong == 0);
  CHECK(seen.stale == 0);
  CHECK(seen.lost == 0);
  CHECK(seen.longest < 100ms + larder::testing::slack);
}

}  // namespace

TEST_CASE("slots move while they are used: no error, no wrong value, nothing lost") {
  ClusterUnderLoad use(0);
  VersionedLoad load(use.cache, threads);
  for (std::size_t slot = 0; slot < 300; ++slot) use.cluster.move(slot, 0, 1);
  check_nothing_was_noticed("resharding", load.finish());
}

TEST_CASE("the keys of a slot move one by one, and batches over them are answered") {
  ClusterUnderLoad use(0);
  VersionedLoad load(use.cache, threads);
  std::size_t moved = 0;
  for (std::size_t number = 0; moved < 60; ++number) {
    const std::size_t slot = use.slot_of(VersionedLoad::key(number % threads, number / threads));
    const std::size_t owner = use.cluster.first_owner(slot);
    if (owner == 2) continue;  // all go to one node
    ++moved;
    use.cluster.begin_move(slot, owner, 2);
    for (int i = 0; i < 3; ++i) {
      load.await_turns(2);
      use.cluster.move_keys(slot, owner, 2, 1);
    }
    load.await_turns(2);
    while (use.cluster.move_keys(slot, owner, 2, 100)) {
    }
    use.cluster.end_move(slot, owner, 2);
  }
  check_nothing_was_noticed("key-by-key migration", load.finish());
}

TEST_CASE("a planned failover is not noticed") {
  ClusterUnderLoad use(1);
  VersionedLoad load(use.cache, threads);
  for (const std::size_t next : {3U, 0U, 4U, 5U}) {
    use.cluster.fail_over_to(next);
    load.await_turns(200);
    use.cluster.await_replica(next < 3 ? next + 3 : next - 3);
    use.cluster.await_agreement();
  }
  check_nothing_was_noticed("planned failovers", load.finish());
}

TEST_CASE("a primary goes, and calls succeed as soon as its replica has taken over") {
  const std::string how = GENERATE("kill -9", "SHUTDOWN", "SIGSTOP");
  const bool freezes = how == "SIGSTOP";
  ClusterUnderLoad use("command_timeout=250ms&connect_timeout=250ms");
  const std::string patient = use.cluster.url("command_timeout=60s");
  RedisCache idle(patient, "load:");  // makes no call until the old primary is back
  std::string name = "0";
  while (use.cluster.first_owner_of("load:" + name) != 0) name = std::to_string(std::stoi(name) + 1);
  idle.set(name, name + " is at version 1");
  VersionedLoad load(use.cache, threads);
  const auto before = load.take();
  CHECK(before.errors == 0);
  if (freezes) {
    use.cluster.node(0).freeze();
  } else if (how == "SHUTDOWN") {
    use.cluster.node(0).shut_down();
  } else {
    use.cluster.node(0).kill();
  }
  REQUIRE(use.cluster.await_takeover(0, 3));
  const auto recovered = Clock::now();
  load.await_turns(500);
  const auto seen = load.take();
  const auto late = std::chrono::duration_cast<larder::testing::milliseconds>(seen.last_error - recovered);
  std::printf("%s: %s; last error %lld ms after the recovery\n", how.c_str(), seen.text().c_str(),
              static_cast<long long>(late.count()));
  INFO(seen.text());
  CHECK(seen.wrong == 0);
  CHECK(late < 250ms + (freezes ? 250ms : 0ms) + larder::testing::slack);
  CHECK(seen.longest < 500ms + larder::testing::slack);
  if (!freezes) return;
  RedisCache(patient, "load:").set(name, name + " is at version 2");
  use.cluster.node(0).thaw();
  REQUIRE(larder::testing::eventually([&] { return !use.cluster.is_primary(0); }));
  load.await_turns(2);
  load.take();  // what the old primary answered before it knew
  CHECK(idle.get(name) == name + " is at version 2");
  load.await_turns(100);
  const auto thawed = load.finish();
  INFO(thawed.text());
  CHECK(thawed.wrong == 0);
  CHECK(thawed.stale == 0);
  CHECK(thawed.lost == 0);
}

TEST_CASE("a node joins, gets slots, gives them back and leaves: nobody notices, and nobody needs it afterwards") {
  ClusterUnderLoad use(0);
  VersionedLoad load(use.cache, threads);
  const std::size_t guest = use.cluster.add_node();
  use.cluster.meet();
  std::set<std::size_t> slots;
  for (std::size_t i = 0; i < 10 * threads; ++i)
    slots.insert(use.slot_of(VersionedLoad::key(i % threads, i / threads)));
  for (const std::size_t slot : slots) use.cluster.move(slot, use.cluster.first_owner(slot), guest);
  const auto client = larder::redis::make_client("redis+cluster://" + use.cluster.address(guest) + "?client_name=late");
  RedisCache late(client, "late:");
  VersionedLoad late_load(late, 2);
  CHECK(use.cluster.node(guest).clients_with("name=late").size() != 0);
  for (const std::size_t slot : slots) use.cluster.move(slot, guest, use.cluster.first_owner(slot));
  load.await_turns(20);
  late_load.await_turns(20);
  use.cluster.await_agreement();
  client->for_each_primary([](larder::redis::Client&) {});  // asks for the map
  CHECK(larder::testing::eventually([&] { return use.cluster.node(guest).clients_with("name=late").empty(); }));
  use.cluster.remove(guest);
  for (const std::size_t slot : slots) {  // so that the map is asked for again
    use.cluster.move(slot, use.cluster.first_owner(slot), (use.cluster.first_owner(slot) + 1) % 3);
  }
  load.await_turns(100);
  late_load.await_turns(100);
  check_nothing_was_noticed("scale out and in", load.finish());
  check_nothing_was_noticed("by the node that left", late_load.finish());
}

TEST_CASE("clear() is complete while slots move") {
  ClusterUnderLoad use(0);
  RedisCache other(use.cluster.url(), "other:");
  constexpr std::size_t count = 2000;
  std::vector<std::pair<std::string, std::string>> items;
  for (std::size_t i = 0; i < count; ++i)
    items.emplace_back(larder::testing::key(i), larder::testing::value_of(larder::testing::key(i)));
  const std::size_t from = GENERATE(0U, 1U, 2U), to = (from + 1) % 3;
  for (int round = 0; round < 3; ++round) {
    use.cache.set_many(items);
    other.set_many(items);
    std::atomic<bool> is_done{false};
    std::thread moving([&] {
      for (std::size_t slot = from * 5462; !is_done; ++slot) {
        if (use.cluster.first_owner(slot) != from || slot % 5462 > 2000) break;
        use.cluster.begin_move(slot, from, to);
        while (use.cluster.move_keys(slot, from, to, 1)) {
        }
        if (slot % 3 != 0) use.cluster.end_move(slot, from, to);  // every third stays half way
      }
    });
    use.cache.clear();
    is_done = true;
    moving.join();
    std::size_t left = 0;
    for (std::size_t i = 0; i < use.cluster.size(); ++i) {
      const std::string keys = use.cluster.node(i).ask({"KEYS", "load:*"});
      left += static_cast<std::size_t>(std::count(keys.begin(), keys.end(), '\n'));
    }
    CHECK(left == 0);
    const auto kept =
        other.get_many({larder::testing::key(0), larder::testing::key(1), larder::testing::key(count - 1)});
    CHECK(kept[0] == larder::testing::value_of(larder::testing::key(0)));
    CHECK(kept[2] == larder::testing::value_of(larder::testing::key(count - 1)));
  }
}

TEST_CASE("a password and the fewest permissions are enough") {
  RedisCluster cluster(3);
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    cluster.node(i).ask({"ACL", "SETUSER", "app", "on", ">s3cr3t", "~acl:*", "+get", "+set", "+mget", "+del", "+exists",
                         "+pexpire", "+persist", "+pttl", "+scan", "+asking", "+cluster|slots"});
    cluster.node(i).ask({"CONFIG", "SET", "requirepass", "other"});
  }
  cluster.use_password("other");
  RedisCache cache(cluster.url({}, "app:s3cr3t@"), "acl:");
  std::vector<std::pair<std::string, std::string>> items;
  for (std::size_t i = 0; i < 100; ++i)
    items.emplace_back(larder::testing::key(i), larder::testing::value_of(larder::testing::key(i)));
  cache.set_many(items);
  CHECK(cache.get(larder::testing::key(7)) == larder::testing::value_of(larder::testing::key(7)));
  const std::size_t slot = RedisCluster::slot_of(cluster.node(0), "acl:" + larder::testing::key(7));
  const std::size_t from = cluster.first_owner(slot), to = (from + 1) % 3;
  cluster.begin_move(slot, from, to);
  CHECK(cluster.move_keys(slot, from, to, 100));
  CHECK(cache.get(larder::testing::key(7)) == larder::testing::value_of(larder::testing::key(7)));  // by ASK
  cluster.end_move(slot, from, to);
  CHECK(cache.get(larder::testing::key(7)) == larder::testing::value_of(larder::testing::key(7)));  // by MOVED
  CHECK(cache.touch(larder::testing::key(7), 60));
  cache.clear();
  CHECK(cache.get(larder::testing::key(7)) == std::nullopt);
  RedisCache wrong(cluster.url({}, "app:wr0ng@"), "acl:");
  const std::string message = larder::testing::message_of<larder::Error>([&] { wrong.get("key"); });
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring("AUTH"));
}
