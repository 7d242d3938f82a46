#include <larder/redis/detail/pool_call.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/faults.hpp"

using namespace larder::testing;
using larder::redis::Command;
using larder::redis::Pool;
using larder::redis::Reply;
using larder::redis::detail::PoolCall;
using Kind = Reply::Kind;

namespace {

Command get(const std::string& name) { return Command("GET", larder::redis::Key(name)).expects(Kind::string); }

struct Node {
  Node() {
    fill(redis, 100);
    auto options = proxy.options();
    options.command_timeout = 300ms;
    pool = make_pool(options);
    (void)pool->run(get(key(0)));
  }

  RedisProcess redis;
  Proxy proxy{redis.address()};
  std::shared_ptr<Pool> pool;
};

}  // namespace

TEST_CASE("calls that are started on several servers are all sent before the first is waited for") {
  std::vector<std::unique_ptr<Node>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(std::make_unique<Node>());
  for (const auto& node : nodes) node->proxy.delay(40ms);
  std::vector<Command> commands;
  for (std::size_t i = 0; i < 3; ++i) commands.push_back(get(key(i)));
  std::vector<Reply> replies(3);
  const auto begin = Clock::now();
  std::vector<std::unique_ptr<PoolCall>> calls;
  for (std::size_t i = 0; i < 3; ++i) {
    calls.push_back(std::make_unique<PoolCall>(*nodes[i]->pool, &commands[i], 1, &replies[i]));
    calls.back()->start();
  }
  for (const auto& call : calls) call->finish();
  const auto took = Clock::now() - begin;
  for (std::size_t i = 0; i < 3; ++i) CHECK(replies[i].string() == value_of(key(i)));
  CHECK(took >= 80ms);  // there and back
  CHECK(took < 160ms);  // one after another: 240 ms
}

TEST_CASE("one of three servers hangs: the others answer, and their other callers are not held up") {
  std::vector<std::unique_ptr<Node>> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(std::make_unique<Node>());
  std::atomic<std::size_t> held_up{0};
  std::vector<std::unique_ptr<Load>> loads;
  for (std::size_t node = 1; node < 3; ++node) {
    loads.push_back(std::make_unique<Load>(4, [&, node](Tally& tally, std::size_t thread, std::size_t turn) {
      const std::string name = key((thread * 7 + turn) % 100);
      const auto begin = Clock::now();
      tally.call(whole_budget(nodes[node]->proxy.options()), [&] {
        const Reply reply = nodes[node]->pool->run(get(name));
        tally.look_at(name, std::string(reply.string()));
      });
      if (Clock::now() - begin > 100ms + slack / 10) ++held_up;
    }));
  }
  nodes[0]->proxy.be_silent();
  std::size_t right = 0, timeouts = 0;
  const auto begin = Clock::now();
  for (int round = 0; round < 5; ++round) {
    std::vector<Command> commands;
    for (std::size_t i = 0; i < 3; ++i) commands.push_back(get(key(i)));
    std::vector<Reply> replies(3);
    std::vector<std::unique_ptr<PoolCall>> calls;
    for (std::size_t i = 0; i < 3; ++i) {
      calls.push_back(std::make_unique<PoolCall>(*nodes[i]->pool, &commands[i], 1, &replies[i]));
      calls.back()->start();
    }
    for (std::size_t i = 0; i < 3; ++i) {  // the one that hangs first
      try {
        calls[i]->finish();
        right += replies[i].string() == value_of(key(i)) ? 1U : 0U;
      } catch (const larder::TimeoutError&) {
        ++timeouts;
        CHECK(i == 0);
      }
    }
  }
  CHECK(Clock::now() - begin <= 5 * whole_budget(nodes[0]->proxy.options()) + slack);
  CHECK(right == 10);
  CHECK(timeouts == 5);
  for (const auto& load : loads) {
    const Tally tally = load->finish();
    check(tally);
    CHECK(tally.errors() == 0);
    CHECK(tally.hits > 100);
  }
  CHECK(held_up == 0);
}

TEST_CASE("started calls under load: each gets its own reply, whether it is finished or left") {
  RedisProcess redis;
  fill(redis, 100);
  auto options = redis.options();
  options.connections = GENERATE(1U, 2U);
  const auto pool = make_pool(options);
  Load load(
      8,
      [&](Tally& tally, std::size_t thread, std::size_t turn) {
        const std::string first = key((thread * 13 + turn) % 100), second = key((thread * 17 + turn) % 100);
        const Command one = get(first);
        const std::vector<Command> two = {get(second), get(first)};
        Reply reply;
        std::vector<Reply> replies(2);
        tally.call(whole_budget(options), [&] {
          PoolCall a(*pool, &one, 1, &reply), b(*pool, two.data(), 2, replies.data());
          if (turn % 3 != 0) a.start();
          b.start();
          if (turn % 5 == 0) return;
          b.finish();
          if (turn % 7 == 0) return;
          a.finish();
          tally.look_at(first, std::string(reply.string()));
          tally.look_at(first, std::string(replies[1].string()));
          tally.look_at(second, std::string(replies[0].string()));
        });
      },
      scaled(3000));
  const Tally tally = load.join();
  check(tally);
  CHECK(tally.errors() == 0);
  CHECK(tally.hits > tally.calls);
}

TEST_CASE("a call that is started on a connection which broke while it rested gets its reply over another one") {
  Node node;
  node.redis.kill_clients();
  const Command command = get(key(7));
  Reply reply;
  PoolCall call(*node.pool, &command, 1, &reply);
  call.start();
  call.finish();
  CHECK(reply.string() == value_of(key(7)));
}
