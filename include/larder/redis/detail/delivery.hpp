// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"
#include "clock.hpp"
#include "endpoint.hpp"
#include "map_keeper.hpp"
#include "nodes.hpp"
#include "pool_call.hpp"
#include "redirect.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// The commands of one call on their way to the nodes of a cluster that carry them out.
class Delivery {
 public:
  // `keyless` is where commands without a key go; null: anywhere. `deadline` is the caller's, `latest` is when the call
  // must have ended.
  Delivery(MapKeeper& keeper, Node* keyless, const Command* commands, std::size_t count, Reply* replies,
           std::optional<Deadline> deadline, Deadline latest, MapKeeper::Question* question)
      : keeper_(keeper),
        question_(question),
        keyless_(keyless),
        commands_(commands),
        count_(count),
        replies_(replies),
        first_deadline_(deadline),
        latest_(latest) {}

  // Returns when all replies are there. Throws if one of them cannot be had; the others are seen to nevertheless.
  void run() {
    for (std::size_t i = 0; i < count_; ++i) next_.push_back({i, &keeper_.place_of(commands_[i], keyless_), false});
    hops_ = -1;
    finish();
  }

  // The same for the only command, which has been at a node, and been refused there, or has not got there.
  void continue_after(Node& node) {
    take({0, &node, false}, std::move(*replies_));
    finish();
  }
  void continue_after(Node& node, const ConnectionError& error) {
    fail({0, &node, false}, error);
    finish();
  }

 private:
  static constexpr int max_hops = 5;

  // The node that a command goes to next.
  struct Route {
    std::size_t index;  // of the command
    Node* node;
    bool asks;  // with ASKING: the slot is still on its way to the node
  };
  using Routes = std::vector<Route>;

  // What goes to one node.
  struct Group {
    Routes routes;
    std::vector<Command> commands;
    std::vector<Reply> replies;
    std::optional<PoolCall> call;  // none: it could not be sent
  };

  void finish() {
    while (!next_.empty()) {
      if (++hops_ > 0 && Clock::now() >= latest_) {
        if (failure_) break;
        throw_late(next_.front());
      }
      send_to_nodes(std::exchange(next_, {}));
    }
    if (failure_) std::rethrow_exception(failure_);
  }

  [[noreturn]] void throw_late(const Route& route) const {
    throw TimeoutError(to_string(route.node->endpoint) + ": " + std::string(commands_[route.index].name()) +
                       ": the time allowed ran out when nodes of the cluster had passed the command on to this one "
                       "(command_timeout); do all nodes answer the same to CLUSTER SLOTS?");
  }

  // All nodes are sent to before any of them is waited for.
  void send_to_nodes(const Routes& routes) {
    std::vector<Node*> nodes;
    std::vector<std::size_t> places;  // in nodes, of that of each route
    for (const Route& route : routes) {
      places.push_back(static_cast<std::size_t>(std::find(nodes.begin(), nodes.end(), route.node) - nodes.begin()));
      if (places.back() == nodes.size()) nodes.push_back(route.node);
    }
    std::vector<Group> groups(nodes.size());
    for (std::size_t i = 0; i < routes.size(); ++i) groups[places[i]].routes.push_back(routes[i]);
    for (Group& group : groups) start(group);
    for (Group& group : groups) finish(group);
  }

  void start(Group& group) {
    for (const Route& route : group.routes) {
      if (route.asks) group.commands.emplace_back("ASKING");
      group.commands.push_back(commands_[route.index]);
    }
    group.replies.resize(group.commands.size());
    try {
      group.call.emplace(group.routes.front().node->pool, group.commands.data(), group.commands.size(),
                         group.replies.data(), hops_ == 0 ? first_deadline_ : latest_);
      group.call->start();
    } catch (const ConnectionError& error) {
      for (const Route& route : group.routes) fail(route, error);
    } catch (const Error&) {  // the server refuses the connection
      note_failure();
    }
  }

  void finish(Group& group) {
    if (!group.call) return;
    try {
      group.call->finish();
    } catch (const ConnectionError& error) {
      for (const Route& route : group.routes) fail(route, error);
      return;
    } catch (const Error&) {
      return note_failure();
    }
    auto reply = group.replies.begin();
    for (const Route& route : group.routes) {
      const bool is_refused = route.asks && !reply->failure().empty();
      if (route.asks) ++reply;
      take(route, std::move(is_refused ? reply[-1] : *reply));
      ++reply;
    }
  }

  // A node has answered: that is the reply, or the command goes on to another node.
  void take(const Route& route, Reply reply) {
    const auto redirect = hops_ < max_hops ? read_redirect(reply.failure()) : std::nullopt;
    Node* other = nullptr;
    bool asks = false;
    if (redirect && redirect->kind == Redirect::Kind::down) {
      other = other_place_of(route);
    } else if (redirect) {
      asks = redirect->kind == Redirect::Kind::ask;
      other = asks ? &keeper_.target(*redirect, *route.node) : &keeper_.moved(*redirect, *route.node);
    }
    if (redirect && other == route.node && hops_ == 0) {
      PoolCall::retire_connections(other->pool, "the node is at another address now");
    }
    if (other) {
      next_.push_back({route.index, other, asks});
    } else {
      replies_[route.index] = std::move(reply);
    }
  }

  // A node has not answered: who has taken over its slots may do so.
  void fail(const Route& route, const ConnectionError& error) {
    keeper_.want_refresh(nullptr, route.node);
    const bool is_harmless = commands_[route.index].repeatable() || !error.outcome_unknown();
    Node* const other = is_harmless && hops_ < max_hops ? other_place_of(route) : nullptr;
    if (other) {
      next_.push_back({route.index, other, false});
    } else {
      note_failure();
    }
  }

  // The first is what the call throws in the end.
  void note_failure() {
    if (!failure_) failure_ = std::current_exception();
  }

  // Where a command belongs now that its node does not serve it, if that is elsewhere.
  Node* other_place_of(const Route& route) {
    if (Clock::now() >= latest_) return nullptr;
    if (question_ && question_->is_open()) {
      question_->finish();
    } else {
      keeper_.refresh_now(latest_);
    }
    keeper_.avoid(*route.node);
    Node& other = keeper_.place_of(commands_[route.index], keyless_);
    return &other == route.node ? nullptr : &other;
  }

  MapKeeper& keeper_;
  MapKeeper::Question* const question_;  // that this call has asked in passing, if it has
  Node* const keyless_;
  const Command* const commands_;
  const std::size_t count_;
  Reply* const replies_;
  const std::optional<Deadline> first_deadline_;  // of the first attempt; none: that of the pool
  const Deadline latest_;
  Routes next_;  // still to be sent
  std::exception_ptr failure_;
  int hops_ = 0;  // how often commands were passed on
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
