// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../detail/per_process.hpp"
#include "../error.hpp"
#include "../version.hpp"
#include "client.hpp"
#include "command.hpp"
#include "detail/clock.hpp"
#include "detail/delivery.hpp"
#include "detail/host_list.hpp"
#include "detail/map_keeper.hpp"
#include "detail/nodes.hpp"
#include "detail/pool_call.hpp"
#include "options.hpp"
#include "reply.hpp"

namespace larder::redis {
inline namespace LARDER_HIREDIS_ABI {

/// The nodes of a Redis Cluster, with a Pool for each. A command goes to the node that has the slot of its key;
/// commands without a key go to any. Which node has which slot is asked for when there is something to do, and again
/// when nodes say that it has changed, or cannot be reached. There is no background thread.
///
/// A call ends within the time that one of a Pool does, however often nodes pass it on. Commands of several keys must
/// keep to keys of one slot. Nodes that are new are found; memory for nodes that have gone is kept.
///
/// Thread-safe. No call may be under way when it is destroyed.
class Cluster : public Client {
 public:
  /// `nodes` are some of the nodes, written host:port, and an IPv6 address in brackets; the port is 6379 if there is
  /// none. `options` are those of the connections to each node; host and port aside. Throws InvalidArgument.
  explicit Cluster(const std::vector<std::string>& nodes, Options options = {})
      : settings_(settings(nodes, std::move(options))) {
    keeper_.get(settings_);
  }

  std::size_t slot(std::string_view prefix, std::string_view key) const override {
    return detail::slot_of(prefix, key);
  }

  /// Another number if a connection was lost, or other nodes are primaries. It does not tell of slots that move between
  /// primaries: for_each_primary() meets their keys nevertheless.
  std::uint64_t generation() const noexcept override {
    try {
      return keeper_.get(settings_).generation();
    } catch (...) {
      return 0;
    }
  }

  void tend() override {
    Keeper& keeper = keeper_.get(settings_);
    if (keeper.is_due()) Keeper::Question(keeper).finish();
  }

 private:
  using Keeper = detail::MapKeeper;

  // Commands without a key go to one node, all others to where they belong.
  class Primary : public Client {
   public:
    Primary(Cluster& cluster, detail::Node& node) : cluster_(cluster), node_(node) {}

    std::size_t slot(std::string_view prefix, std::string_view key) const override {
      return cluster_.slot(prefix, key);
    }
    std::uint64_t generation() const noexcept override { return cluster_.generation(); }

   private:
    void do_run(const Command* commands, std::size_t count, Reply* replies, std::optional<Deadline> deadline) override {
      cluster_.route(&node_, commands, count, replies, deadline);
    }

    Cluster& cluster_;
    detail::Node& node_;
  };

  static Keeper::Settings settings(const std::vector<std::string>& nodes, Options options) {
    return {detail::read_hosts(nodes, 6379), std::move(options)};
  }

  Deadline limit(std::optional<Deadline> deadline, Deadline began = detail::Clock::now()) const {
    const Options& options = settings_.node;
    return deadline ? *deadline : began + options.connect_timeout + options.command_timeout;
  }

  // One command goes straight to its node, which nearly always gives the reply.
  void do_run(const Command* commands, std::size_t count, Reply* replies, std::optional<Deadline> deadline) override {
    Keeper* const keeper = keeper_.own();
    if (count != 1 || !keeper || keeper->is_due() || !keeper->has_map()) {
      return route(nullptr, commands, count, replies, deadline);
    }
    const detail::TimePoint began = detail::Clock::now();
    detail::Node& node = keeper->place_of(*commands, nullptr);
    const auto delivery = [&] {
      return detail::Delivery(*keeper, nullptr, commands, 1, replies, deadline, limit(deadline, began), nullptr);
    };
    try {
      detail::PoolCall::run_since(began, node.pool, *commands, *replies, deadline);
    } catch (const ConnectionError& error) {
      return delivery().continue_after(node, error);
    }
    if (replies->kind() == Reply::Kind::failure) delivery().continue_after(node);
  }

  void route(detail::Node* keyless, const Command* commands, std::size_t count, Reply* replies,
             std::optional<Deadline> deadline) {
    Keeper& keeper = keeper_.get(settings_);
    const Deadline latest = limit(deadline);
    std::optional<Deadline> first = deadline;
    if (!keeper.has_map()) {
      keeper.refresh_now(latest);
      first = latest;  // some of the time has gone
    }
    std::optional<Keeper::Question> question;
    if (keeper.is_due()) question.emplace(keeper);
    detail::Delivery(keeper, keyless, commands, count, replies, first, latest, question ? &*question : nullptr).run();
    if (question) question->finish();
  }

  // A key may move from one node to another while they are visited one after another. So each pair of nodes is visited
  // in either order: whichever way the key goes, it is met before it goes, or after.
  void do_for_each_primary(void (*visit)(Client& node, void* argument), void* argument) override {
    Keeper& keeper = keeper_.get(settings_);
    keeper.demand(limit(std::nullopt));
    auto nodes = keeper.primaries();
    for (std::size_t i = nodes.size(); i > 1; --i) nodes.push_back(nodes[i - 2]);
    for (detail::Node* node : nodes) {
      Primary primary(*this, *node);
      visit(primary, argument);
    }
    keeper.demand(limit(std::nullopt));  // generation() then tells whether these were all
  }

  const Keeper::Settings settings_;
  mutable larder::detail::PerProcess<Keeper> keeper_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// `redis+cluster://[user[:password]@]host[:port],…[/database][?option=value&…]`
inline std::shared_ptr<Client> make_cluster(const Url& url) {
  return std::make_shared<Cluster>(split_hosts(url.hosts), node_options(url, url.path));
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
