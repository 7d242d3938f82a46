// The contract of BaseCache on clusters and behind sentinels.

#include <cstddef>

#include "support/catch.hpp"
#include "support/contract_subjects.hpp"

using namespace larder::testing;

namespace {

const char* const patient = "command_timeout=60s";

template <std::size_t nodes>
RedisCluster& cluster() {
  static RedisCluster shared(nodes);
  return shared;
}

RedisSentinels& sentinels() {
  static RedisSentinels shared(0, 1);
  return shared;
}

struct OnOneNode : OnCluster {
  OnOneNode() : OnCluster(cluster<1>(), patient) {}
};
struct OnThreeNodes : OnCluster {
  OnThreeNodes() : OnCluster(cluster<3>(), patient) {}
};
struct OnThreeNodesWithTag : OnCluster {
  OnThreeNodesWithTag() : OnCluster(cluster<3>(), patient, "{tag}:") {}
};
struct BehindOneSentinel : BehindSentinels {
  BehindOneSentinel() : BehindSentinels(sentinels(), patient) {}
};

}  // namespace

TEMPLATE_TEST_CASE("a cache on several servers keeps the contract of BaseCache", "", OnOneNode, OnThreeNodes,
                   OnThreeNodesWithTag, BehindOneSentinel) {
  TestType subject;
  check_contract(subject);
}
