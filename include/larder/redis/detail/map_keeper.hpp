// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
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
#include "nodes.hpp"
#include "pool_call.hpp"
#include "redirect.hpp"
#include "refresh_gate.hpp"
#include "slot.hpp"
#include "slot_map.hpp"
#include "topology.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// The map of a cluster, and what keeps it true: callers who notice that it is not. Thread-safe.
class MapKeeper {
 public:
  struct Settings {
    std::vector<Endpoint> seeds;
    Options node;  // of each node; its address aside
  };

  explicit MapKeeper(const Settings& settings) : nodes_(settings.node, settings.seeds) {
    for (const Endpoint& seed : settings.seeds) seeds_.push_back(&nodes_.at(seed));
    asked_ = seeds_.front();
  }

  // Where a command belongs, as far as is known; without a key, that is `keyless`, if it is given. While the owner of
  // the slot is not known, it is one of the seeds.
  Node& place_of(const Command& command, Node* keyless) noexcept {
    if (keyless && !command.has_key()) return *keyless;
    Node* const owner = map_.owner(slot_of(command.key()));
    return owner ? *owner : *seeds_[next_seed_.load(std::memory_order_relaxed) % seeds_.size()];
  }

  // While the map is not known, another seed takes the place of this one.
  void avoid(const Node& node) noexcept {
    std::size_t seed = next_seed_.load(std::memory_order_relaxed);
    if (seeds_[seed % seeds_.size()] == &node) next_seed_.compare_exchange_strong(seed, seed + 1);
  }

  // Another number if a connection was lost, or the primaries are others than when the map was last asked for.
  std::uint64_t generation() {
    std::uint64_t sum = changes_.load(std::memory_order_acquire);
    for (Node* node : nodes_.all()) sum += node->pool.generation();
    return sum;
  }
  std::vector<Node*> primaries() const { return map_.primaries(); }

  // `from` says that a slot has moved. Returns where to.
  Node& moved(const Redirect& redirect, Node& from) {
    Node& to = target(redirect, from);
    map_.set(redirect.slot, to);
    want_refresh(&from, nullptr);
    return to;
  }
  Node& target(const Redirect& redirect, const Node& from) {
    return nodes_.at({redirect.to.host.empty() ? from.endpoint.host : redirect.to.host, redirect.to.port});
  }

  // The map is asked for by the next caller who passes: first of all of `knows_better`, and of `suspect` at the end.
  void want_refresh(Node* knows_better, Node* suspect) noexcept {
    if (knows_better) hint_.store(knows_better, std::memory_order_relaxed);
    if (suspect) suspect_.store(suspect, std::memory_order_relaxed);
    is_due_.store(true, std::memory_order_relaxed);
  }
  // Whether a map has ever been told.
  bool has_map() const noexcept { return changes_.load(std::memory_order_acquire) != 0; }
  bool is_due() const noexcept { return is_due_.load(std::memory_order_relaxed); }

  // Asks one node for the map, unless somebody is at it, or was a moment ago: sent by the constructor, so that the
  // caller can do something else until finish().
  class Question {
   public:
    explicit Question(MapKeeper& keeper) : keeper_(keeper), pass_(keeper.gate_.enter(Clock::now())) {
      if (!*pass_) return;
      node_ = keeper.candidates().front();
      keeper.is_due_.store(false, std::memory_order_relaxed);
      try {
        call_.emplace(node_->pool, &command_, 1, &reply_, Clock::now() + longest);
        call_->start();
      } catch (const Error&) {
        keeper.want_refresh(nullptr, node_);
        pass_.reset();
      }
    }

    // Whether the answer is still to be taken.
    bool is_open() const noexcept { return call_.has_value(); }

    void finish() noexcept {
      if (!call_) return;
      bool is_known = false;
      try {
        call_->finish();
        is_known = keeper_.take(reply_, *node_);
      } catch (...) {
      }
      if (!is_known) keeper_.want_refresh(nullptr, node_);
      call_.reset();
      pass_.reset();
    }

   private:
    static constexpr std::chrono::milliseconds longest{200};  // to wait for it

    MapKeeper& keeper_;
    std::optional<RefreshGate::Pass> pass_;
    Node* node_ = nullptr;
    const Command command_{"CLUSTER", "SLOTS"};
    Reply reply_;
    std::optional<PoolCall> call_;
  };

  // Brings the map up to date for a caller who cannot go on without it. Throws ConnectionError if the servers form no
  // cluster: a key would be on one of them today, and on another tomorrow. Throws TimeoutError if there has never been
  // a map, and the time is over.
  void refresh_now(Deadline deadline) {
    auto pass = gate_.enter_or_wait(deadline);
    const std::string problem =
        pass ? refresh(pass, deadline) : to_string(asked_.load()->endpoint) + ": it was asked a moment ago";
    if (has_map()) return;
    const Node* const single = non_cluster_node_.load();
    if (!single && Clock::now() >= deadline) throw TimeoutError(no_map_text + problem);
    if (!single) return;
    throw ConnectionError(to_string(single->endpoint) +
                          ": the server is no node of a cluster (the URL of a single server is redis://)");
  }

  // Asks for the map however short ago that was done. Throws ConnectionError if nobody tells it.
  void demand(Deadline deadline) {
    auto pass = gate_.enter_anyway(deadline);
    const std::string problem = pass ? refresh(pass, deadline) : "the time allowed ran out";
    if (!problem.empty()) throw ConnectionError(no_map_text + problem);
  }

 private:
  static constexpr int max_answers = 4;  // that are no map
  static constexpr const char* no_map_text = "no node of the cluster tells its map; ";

  // Asks one after another until one tells the map. Returns why there is none, or nothing.
  std::string refresh(RefreshGate::Pass& pass, Deadline deadline) {
    struct Due {
      std::atomic<bool>& is_due;
      bool is_over = false;
      ~Due() {
        if (!is_over) is_due.store(true, std::memory_order_relaxed);
      }
    } due{is_due_};
    is_due_.store(false, std::memory_order_relaxed);
    std::string problem = "the time allowed ran out";
    int answers = 0;
    const auto nodes = candidates();
    for (Node* node : nodes) {
      const TimePoint now = Clock::now();
      if (answers == max_answers || now >= deadline) break;
      asked_.store(node);
      try {  // one that hangs leaves time for the next
        const Deadline end = node == nodes.back() ? deadline : now + (deadline - now) / 2;
        Reply reply = node->pool.run(Command("CLUSTER", "SLOTS"), end);
        pass.pauses = ++answers;
        const std::string failure(reply.failure());
        due.is_over = take(reply, *node);
        if (due.is_over) return {};
        problem = to_string(node->endpoint) + ": " + (failure.empty() ? "a map that makes no sense" : failure);
        if (failure.find("cluster support disabled") != std::string::npos) non_cluster_node_.store(node);
      } catch (const Error& error) {
        problem = error.what();
      }
    }
    return problem;
  }

  // False if it is no map.
  bool take(Reply& reply, const Node& teller) {
    const auto topology = read_topology(reply);
    if (!topology) return false;
    map_.set(*topology, teller, nodes_);
    if (auto primaries = map_.primaries(); primaries != known_) {
      known_ = std::move(primaries);
      changes_.fetch_add(1, std::memory_order_release);
    }
    for (Node* node : nodes_.all()) {
      if (std::binary_search(known_.begin(), known_.end(), node, std::less<>())) continue;
      PoolCall::retire_connections(node->pool, "the node has no slots");
    }
    return true;
  }

  // Whom to ask for the map, the best first.
  std::vector<Node*> candidates() {
    std::vector<Node*> nodes;
    const auto add = [&](Node* node) {
      if (node && std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
    };
    add(hint_.exchange(nullptr, std::memory_order_relaxed));
    const auto known = map_.primaries();
    const std::size_t first = known.empty() ? 0 : gate_.random() % known.size();
    for (std::size_t i = 0; i < known.size(); ++i) add(known[(first + i) % known.size()]);
    for (Node* seed : seeds_) add(seed);
    Node* const suspect = suspect_.exchange(nullptr, std::memory_order_relaxed);
    const auto end = std::remove(nodes.begin(), nodes.end(), suspect);
    if (end != nodes.end()) {
      nodes.erase(end, nodes.end());
      nodes.push_back(suspect);
    }
    return nodes;
  }

  Nodes nodes_;
  std::vector<Node*> seeds_;
  std::atomic<std::size_t> next_seed_{0};  // stands in for owners that are not known
  SlotMap map_;
  RefreshGate gate_;                              // lets in who asks for the map
  std::vector<Node*> known_;                      // the primaries of the last map; for who is let in
  std::atomic<std::uint64_t> changes_{0};         // how often known_ has changed
  std::atomic<bool> is_due_{true};                // the map is to be asked for
  std::atomic<Node*> asked_{nullptr};             // the last by refresh()
  std::atomic<Node*> hint_{nullptr};              // whom to ask first
  std::atomic<Node*> suspect_{nullptr};           // whom to ask last
  std::atomic<Node*> non_cluster_node_{nullptr};  // a server that is no node of a cluster
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
