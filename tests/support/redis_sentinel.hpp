#pragma once

#include <cstddef>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "redis_process.hpp"
#include "sockets.hpp"

namespace larder::testing {

/// A primary, its replicas and the sentinels that watch them, all on loopback ports, and killed with the test. The
/// sentinels call a node dead after a second. All are at work once the constructor has returned.
class RedisSentinels {
 public:
  static constexpr const char* name = "main";

  struct Settings {
    std::string password, sentinel_password;
    std::vector<std::string> options;  // of redis-server's command line, for the nodes and the sentinels
    RedisProcess::Listen listen = RedisProcess::on_both;
    bool are_sentinels_plain = false;  // while the nodes speak TLS: the sentinels do not find each other then
    std::string host = "127.0.0.1";    // how all are called and call each other: an address of loopback, or a name
  };

  RedisSentinels(std::size_t replicas, std::size_t sentinels) : RedisSentinels(replicas, sentinels, Settings()) {}
  RedisSentinels(std::size_t replicas, std::size_t sentinels, Settings settings)
      : quorum_(sentinels / 2 + 1), settings_(std::move(settings)) {
    auto& options = settings_.options;
    if (is_ipv6()) options.insert(options.end(), {"--bind", settings_.host});
    if (speaks_tls()) options.insert(options.end(), {"--tls-replication", "yes"});
    for (std::size_t i = 0; i <= replicas; ++i) add_node();
    for (std::size_t i = 1; i <= replicas; ++i) {
      demand([&] { return node(i).ask({"INFO", "replication"}).find("master_link_status:up") != std::string::npos; });
    }
    for (std::size_t i = 0; i < sentinels; ++i) add_sentinel();
    for (std::size_t i = 0; i < sentinels; ++i) {
      demand([&] {
        const std::string state = sentinel(i).ask({"SENTINEL", "MASTER", name});
        return state.find("num-slaves\n" + std::to_string(replicas) + "\n") != std::string::npos &&
               state.find("num-other-sentinels\n" + std::to_string(sentinels - 1) + "\n") != std::string::npos &&
               sentinel(i).ask({"SENTINEL", "CKQUORUM", name}).substr(0, 2) == "OK";
      });
    }
  }

  std::size_t nodes() const noexcept { return nodes_.size(); }
  std::size_t sentinels() const noexcept { return sentinels_.size(); }
  RedisProcess& node(std::size_t index) { return *nodes_.at(index); }
  RedisProcess& sentinel(std::size_t index) { return *sentinels_.at(index); }
  int port(std::size_t index) const { return nodes_.at(index)->tcp_address().port; }
  int sentinel_port(std::size_t index) const { return sentinels_.at(index)->tcp_address().port; }

  std::string url(const std::string& options = {}, const std::string& user = {}) const {
    std::string hosts;
    for (std::size_t i = 0; i < sentinels(); ++i) {
      if (i != 0) hosts += ',';
      hosts += (is_ipv6() ? '[' + settings_.host + ']' : settings_.host) + ':' + std::to_string(sentinel_port(i));
    }
    return (speaks_tls() ? "rediss+sentinel://" : "redis+sentinel://") + user + hosts + "/" + name +
           (options.empty() ? "" : "?") + options;
  }

  /// The host and the port of the primary that a sentinel names.
  std::pair<std::string, int> primary_of(std::size_t index) {
    const std::string answer = sentinel(index).ask({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", name});
    const auto line = answer.find('\n');
    if (line == std::string::npos) return {};
    return {answer.substr(0, line), std::stoi(answer.substr(line + 1))};
  }
  int named_by(std::size_t index) { return primary_of(index).second; }

  bool is_primary(std::size_t index) {
    return node(index).ask({"INFO", "replication"}).find("role:master") != std::string::npos;
  }

  /// The node that says it is the primary; the first such.
  std::size_t primary() {
    for (std::size_t i = 0; i < nodes(); ++i) {
      if (is_primary(i)) return i;
    }
    throw std::runtime_error("there is no primary");
  }

  /// A planned failover; returns when it has begun.
  void fail_over(std::size_t sentinel_index = 0) {
    demand([&] { return sentinel(sentinel_index).ask({"SENTINEL", "FAILOVER", name}) == "OK"; });
  }

 private:
  bool speaks_tls() const noexcept { return settings_.listen == RedisProcess::on_tls; }
  bool is_ipv6() const noexcept { return settings_.host.find(':') != std::string::npos; }
  bool has_name() const noexcept { return settings_.host == "localhost"; }

  void add_node() {
    std::vector<std::string> options = settings_.options;
    options.insert(options.end(), {"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"});
    if (!settings_.password.empty()) {
      options.insert(options.end(), {"--requirepass", settings_.password, "--masterauth", settings_.password});
    }
    if (!nodes_.empty()) options.insert(options.end(), {"--replicaof", settings_.host, std::to_string(port(0))});
    if (has_name()) options.insert(options.end(), {"--replica-announce-ip", settings_.host});
    nodes_.push_back(std::make_unique<RedisProcess>(std::move(options), settings_.listen));
    nodes_.back()->use_password(settings_.password);
  }

  void add_sentinel() {
    configs_.push_back(std::make_unique<TempDir>());
    const std::string path = configs_.back()->path() + "/sentinel.conf", watched(name);
    std::ofstream config(path);
    if (has_name()) config << "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n";
    config << "sentinel monitor " << watched << " " << settings_.host << " " << port(0) << " " << quorum_ << "\n"
           << "sentinel down-after-milliseconds " << watched << " 1000\n"
           << "sentinel failover-timeout " << watched << " 10000\n";
    if (!settings_.password.empty()) config << "sentinel auth-pass " << watched << " " << settings_.password << "\n";
    config.close();
    std::vector<std::string> options = {path, "--sentinel"};
    options.insert(options.end(), settings_.options.begin(), settings_.options.end());
    if (!settings_.sentinel_password.empty()) {
      options.insert(options.end(), {"--requirepass", settings_.sentinel_password});
    }
    const auto listen = settings_.are_sentinels_plain ? RedisProcess::on_both : settings_.listen;
    sentinels_.push_back(std::make_unique<RedisProcess>(std::move(options), listen));
    sentinels_.back()->use_password(settings_.sentinel_password);
  }

  template <class Condition>
  static void demand(Condition condition) {
    if (!eventually(condition, 30s)) throw std::runtime_error("the sentinels do not do what they should");
  }

  const std::size_t quorum_;
  Settings settings_;
  std::vector<std::unique_ptr<TempDir>> configs_;
  std::vector<std::unique_ptr<RedisProcess>> nodes_, sentinels_;
};

}  // namespace larder::testing
