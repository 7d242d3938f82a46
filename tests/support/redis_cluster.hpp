#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "redis_process.hpp"
#include "sockets.hpp"

namespace larder::testing {

/// A cluster of redis-servers on loopback ports, killed with the test. The primaries come first, in the order of their
/// slots; replica i + n * primaries() follows primary i. It serves once the constructor has returned.
class RedisCluster {
 public:
  static constexpr std::size_t slots = 16384;
  /// For tests in which no node dies: one that gets no processor for a while is not called dead.
  static inline const std::vector<std::string> patient = {"--cluster-node-timeout", "30000"};

  /// `options` are those of redis-server's command line, for each node; the nodes call each other dead after a second,
  /// unless `patient` is among them.
  explicit RedisCluster(std::size_t primaries, std::size_t replicas_each = 0, std::vector<std::string> options = {},
                        RedisProcess::Listen listen = RedisProcess::on_both)
      : primaries_(primaries), options_(std::move(options)), listen_(listen) {
    if (speaks_tls()) options_.insert(options_.end(), {"--tls-cluster", "yes", "--tls-replication", "yes"});
    for (std::size_t i = 0; i < primaries; ++i) add_node();
    for (std::size_t i = 0; i < primaries; ++i) {
      node(i).ask({"CLUSTER", "ADDSLOTSRANGE", std::to_string(first_slot(i)), std::to_string(first_slot(i + 1) - 1)});
      node(i).ask({"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)});
    }
    for (std::size_t i = 0; i < primaries * replicas_each; ++i) add_node();
    meet();
    for (std::size_t i = primaries; i < size(); ++i) replicate(i, i % primaries);
    for (std::size_t i = primaries; i < size(); ++i) await_replica(i);
    if (replicas_each != 0) {  // without it no node tells of its replicas, and none of them takes over
      demand([&] { return named_in_map("127.0.0.1") >= size(); });
    }
  }

  std::size_t primaries() const noexcept { return primaries_; }
  std::size_t size() const noexcept { return nodes_.size(); }
  RedisProcess& node(std::size_t index) { return *nodes_.at(index).process; }
  int port(std::size_t index) const { return nodes_.at(index).process->tcp_address().port; }
  const std::string& id(std::size_t index) const { return nodes_.at(index).id; }
  std::string address(std::size_t index) const { return "127.0.0.1:" + std::to_string(port(index)); }

  /// The URL that names all nodes.
  std::string url(const std::string& options = {}, const std::string& user = {}) const {
    std::string hosts;
    for (std::size_t i = 0; i < size(); ++i) hosts += (i == 0 ? "" : ",") + address(i);
    return (speaks_tls() ? "rediss+cluster://" : "redis+cluster://") + user + hosts + (options.empty() ? "" : "?") +
           options;
  }

  /// The primary that has a slot at first.
  std::size_t first_owner(std::size_t slot) const {
    std::size_t owner = 0;
    while (first_slot(owner + 1) <= slot) ++owner;
    return owner;
  }

  /// How often the first node names a host when it is asked who has which slots.
  std::size_t named_in_map(std::string_view host) {
    const std::string map = node(0).ask({"CLUSTER", "SLOTS"});
    std::size_t count = 0;
    for (std::size_t at = 0; (at = map.find(host, at)) != std::string::npos; at += host.size()) ++count;
    return count;
  }

  static std::size_t slot_of(RedisProcess& node, std::string_view key) {
    return std::stoul(node.ask({"CLUSTER", "KEYSLOT", key}));
  }
  /// The primary that has a key at first.
  std::size_t first_owner_of(std::string_view key) { return first_owner(slot_of(node(0), key)); }

  /// Starts a node that has no slots, and lets all know it if meet() follows.
  std::size_t add_node() {
    const std::size_t index = nodes_.size();
    Node& added = nodes_.emplace_back();
    std::vector<std::string> options = {"--cluster-port",
                                        std::to_string(added.bus.address().port),
                                        "--cluster-enabled",
                                        "yes",
                                        "--cluster-node-timeout",
                                        "1000",
                                        "--repl-diskless-sync-delay",
                                        "0",
                                        "--repl-ping-replica-period",
                                        "1"};
    options.insert(options.end(), options_.begin(), options_.end());
    added.process.emplace(std::move(options), listen_);
    added.id = added.process->ask({"CLUSTER", "MYID"});
    return index;
  }

  /// Introduces all nodes to each other; returns when the cluster serves.
  void meet() {
    for (std::size_t i = 1; i < size(); ++i) {
      node(i).ask(
          {"CLUSTER", "MEET", "127.0.0.1", std::to_string(port(0)), std::to_string(nodes_[0].bus.address().port)});
    }
    for (std::size_t i = 0; i < size(); ++i) {
      demand([&] { return serves(i) && view_of(i).size() == size(); });
    }
  }

  /// All others forget a node, which stops.
  void remove(std::size_t index) {
    for (std::size_t i = 0; i < size(); ++i) {
      if (i != index) node(i).ask({"CLUSTER", "FORGET", id(index)});
    }
    node(index).shut_down();
  }

  void replicate(std::size_t replica, std::size_t primary) {
    demand([&] { return node(replica).ask({"CLUSTER", "REPLICATE", id(primary)}) == "OK"; });
  }

  /// A planned failover to a replica; returns when it has the slots. A node may refuse it for a moment.
  void fail_over_to(std::size_t replica) {
    for (int attempt = 0; attempt < 10; ++attempt) {
      node(replica).ask({"CLUSTER", "FAILOVER"});
      if (eventually([&] { return is_primary(replica); }, 6s)) return;
    }
    throw std::runtime_error("there is no failover");
  }

  /// Until a node follows its primary, and is up to date.
  void await_replica(std::size_t index) {
    demand([&] { return node(index).ask({"INFO", "replication"}).find("master_link_status:up") != std::string::npos; });
  }

  /// Until a replica has the slots of a dead primary, and all other nodes know it.
  bool await_takeover(std::size_t dead, std::size_t replica) {
    return eventually(
        [&] {
          if (!is_primary(replica)) return false;
          for (std::size_t i = 0; i < size(); ++i) {
            if (i != dead && !serves(i)) return false;
          }
          return true;
        },
        30s);
  }

  /// Until all nodes serve, and agree on who follows whom and who has which slots.
  void await_agreement() {
    demand([&] {
      std::set<std::set<std::string>> views;
      for (std::size_t i = 0; i < size(); ++i) {
        if (!serves(i)) return false;
        views.insert(view_of(i));
      }
      return views.size() == 1;
    });
  }

  bool serves(std::size_t index) {
    return node(index).ask({"CLUSTER", "INFO"}).find("cluster_state:ok") != std::string::npos;
  }
  bool is_primary(std::size_t index) {
    return node(index).ask({"INFO", "replication"}).find("role:master") != std::string::npos;
  }

  // One slot moves: begin_move(), move_keys() any number of times, end_move().

  void begin_move(std::size_t slot, std::size_t from, std::size_t to) {
    node(to).ask({"CLUSTER", "SETSLOT", std::to_string(slot), "IMPORTING", id(from)});
    node(from).ask({"CLUSTER", "SETSLOT", std::to_string(slot), "MIGRATING", id(to)});
  }
  /// False if there were none.
  bool move_keys(std::size_t slot, std::size_t from, std::size_t to, std::size_t count) {
    const std::string keys = node(from).ask({"CLUSTER", "GETKEYSINSLOT", std::to_string(slot), std::to_string(count)});
    if (keys.empty()) return false;
    std::vector<std::string> words = {"MIGRATE", "127.0.0.1", std::to_string(port(to)), "", "0", "5000"};
    if (!password_.empty()) words.insert(words.end(), {"AUTH", password_});
    words.push_back("KEYS");
    for (std::size_t at = 0, end = 0; (end = keys.find('\n', at)) != std::string::npos; at = end + 1) {
      words.push_back(keys.substr(at, end - at));
    }
    const std::string answer = node(from).ask({words.begin(), words.end()});
    if (answer != "OK" && answer != "NOKEY") throw std::runtime_error("MIGRATE: " + answer);
    return true;
  }
  void end_move(std::size_t slot, std::size_t from, std::size_t to) {
    for (const std::size_t told : {to, from}) {
      node(told).ask({"CLUSTER", "SETSLOT", std::to_string(slot), "NODE", id(to)});
    }
  }
  void move(std::size_t slot, std::size_t from, std::size_t to) {
    begin_move(slot, from, to);
    while (move_keys(slot, from, to, 100)) {
    }
    end_move(slot, from, to);
  }

  void use_password(const std::string& password) {
    password_ = password;
    for (auto& node : nodes_) node.process->use_password(password);
  }

  /// How often a command was carried out, by all nodes together.
  long calls_of(std::string_view command) {
    long calls = 0;
    for (auto& node : nodes_) calls += node.process->calls_of(command);
    return calls;
  }

 private:
  struct Node {
    ReservedPort bus;
    std::optional<RedisProcess> process;
    std::string id;
  };

  bool speaks_tls() const noexcept { return listen_ == RedisProcess::on_tls; }
  std::size_t first_slot(std::size_t primary) const { return primary * slots / primaries_; }

  // The nodes, who they follow and what they have, as one of them knows it.
  std::set<std::string> view_of(std::size_t index) {
    std::istringstream lines(node(index).ask({"CLUSTER", "NODES"}));
    std::set<std::string> view;
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string id, address, flags, primary, ping, pong, epoch, link, its_slots;
      words >> id >> address >> flags >> primary >> ping >> pong >> epoch >> link;
      std::getline(words, its_slots);
      const std::string myself = "myself,";
      if (flags.rfind(myself, 0) == 0) flags.erase(0, myself.size());
      view.insert(id + ' ' + flags + ' ' + primary + its_slots);
    }
    return view;
  }

  template <class Condition>
  static void demand(Condition condition) {
    if (!eventually(condition, 30s)) throw std::runtime_error("the cluster does not become what it should");
  }

  const std::size_t primaries_;
  std::vector<std::string> options_;
  const RedisProcess::Listen listen_;
  std::string password_;
  std::deque<Node> nodes_;
};

}  // namespace larder::testing
