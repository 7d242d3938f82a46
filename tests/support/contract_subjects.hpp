#pragma once

#include <chrono>
#include <cstddef>
#include <larder/redis_cache.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "../cache_contract.hpp"
#include "redis_cluster.hpp"
#include "redis_sentinel.hpp"

namespace larder::testing {

inline std::optional<std::chrono::milliseconds> time_left_on(const RedisProcess& node, std::string_view key) {
  const long long left = std::stoll(node.ask({"PTTL", key}));
  if (left == -2) throw std::runtime_error("the key is not there");
  if (left == -1) return std::nullopt;
  return std::chrono::milliseconds(left);
}

/// A cache on a cluster that is emptied first; `options` are those of the URL.
class OnCluster : public Subject {
 public:
  OnCluster(RedisCluster& cluster, const std::string& options, std::string prefix = {})
      : cluster_(cluster), prefix_(std::move(prefix)), cache_(cluster.url(options), prefix_) {
    for (std::size_t i = 0; i < cluster.primaries(); ++i) cluster.node(i).ask({"FLUSHALL"});
  }

  BaseCache& cache() override { return cache_; }

  std::optional<std::chrono::milliseconds> time_left(std::string_view key) override {
    const std::string name = prefix_ + std::string(key);
    return time_left_on(cluster_.node(cluster_.first_owner(RedisCluster::slot_of(cluster_.node(0), name))), name);
  }

 private:
  RedisCluster& cluster_;
  const std::string prefix_;
  RedisCache cache_;
};

/// The same for a primary that sentinels watch.
class BehindSentinels : public Subject {
 public:
  BehindSentinels(RedisSentinels& redis, const std::string& options, const std::string& user = {})
      : redis_(redis), cache_(redis.url(options, user), "p:") {
    redis.node(0).ask({"FLUSHALL"});
  }

  BaseCache& cache() override { return cache_; }

  std::optional<std::chrono::milliseconds> time_left(std::string_view key) override {
    return time_left_on(redis_.node(0), "p:" + std::string(key));
  }

 private:
  RedisSentinels& redis_;
  RedisCache cache_;
};

}  // namespace larder::testing
