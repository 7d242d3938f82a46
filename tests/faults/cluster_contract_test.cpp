// The contract of BaseCache on clusters and behind sentinels.

#include <larder/redis_cache.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "cache_contract.hpp"
#include "support/catch.hpp"
#include "support/redis_cluster.hpp"
#include "support/redis_sentinel.hpp"

using larder::BaseCache;
using larder::RedisCache;
using larder::testing::RedisCluster;
using larder::testing::RedisProcess;
using larder::testing::RedisSentinels;
using std::chrono::milliseconds;

namespace {

const char* const patient = "command_timeout=60s";

std::optional<milliseconds> time_left_on(RedisProcess& node, std::string_view key) {
  const long long left = std::stoll(node.ask({"PTTL", key}));
  if (left == -2) throw std::runtime_error("the key is not there");
  if (left == -1) return std::nullopt;
  return milliseconds(left);
}

template <std::size_t nodes>
RedisCluster& cluster() {
  static RedisCluster shared(nodes);
  return shared;
}

template <std::size_t nodes>
class OnCluster : public larder::testing::Subject {
 public:
  explicit OnCluster(std::string prefix = {})
      : prefix_(std::move(prefix)), cache_(cluster<nodes>().url(patient), prefix_) {
    for (std::size_t i = 0; i < nodes; ++i) cluster<nodes>().node(i).ask({"FLUSHALL"});
  }

  BaseCache& cache() override { return cache_; }

  std::optional<milliseconds> time_left(std::string_view key) override {
    const std::string name = prefix_ + std::string(key);
    auto& nodes_of = cluster<nodes>();
    return time_left_on(nodes_of.node(nodes_of.first_owner(RedisCluster::slot_of(nodes_of.node(0), name))), name);
  }

 private:
  const std::string prefix_;
  RedisCache cache_;
};

using OnOneNode = OnCluster<1>;
using OnThreeNodes = OnCluster<3>;

struct OnThreeNodesWithTag : OnThreeNodes {
  OnThreeNodesWithTag() : OnThreeNodes("{tag}:") {}
};

class BehindSentinels : public larder::testing::Subject {
 public:
  BehindSentinels() : cache_(redis().url(patient), "p:") { redis().node(0).ask({"FLUSHALL"}); }

  BaseCache& cache() override { return cache_; }

  std::optional<milliseconds> time_left(std::string_view key) override {
    return time_left_on(redis().node(0), "p:" + std::string(key));
  }

 private:
  static RedisSentinels& redis() {
    static RedisSentinels shared(0, 1);
    return shared;
  }

  RedisCache cache_;
};

}  // namespace

TEMPLATE_TEST_CASE("a cache on several servers keeps the contract of BaseCache", "", OnOneNode, OnThreeNodes,
                   OnThreeNodesWithTag, BehindSentinels) {
  TestType subject;
  check_contract(subject);
}
