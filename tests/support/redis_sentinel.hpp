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

  /// `options` are those of redis-server's command line, for the nodes and the sentinels. Sentinels that are plain
  /// while the nodes speak TLS do not find each other.
  RedisSentinels(std::size_t replicas, std::size_t sentinels, std::string password = {},
                 std::string sentinel_password = {}, std::vector<std::string> options = {},
                 RedisProcess::Listen listen = RedisProcess::on_both, bool are_sentinels_plain = false)
      : quorum_(sentinels / 2 + 1),
        password_(std::move(password)),
        sentinel_password_(std::move(sentinel_password)),
        options_(std::move(options)),
        listen_(listen),
        sentinels_listen_(are_sentinels_plain ? RedisProcess::on_both : listen) {
    if (speaks_tls()) options_.insert(options_.end(), {"--tls-replication", "yes"});
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
      hosts += (i == 0 ? "" : ",") + ("127.0.0.1:" + std::to_string(sentinel_port(i)));
    }
    return (speaks_tls() ? "rediss+sentinel://" : "redis+sentinel://") + user + hosts + "/" + name +
           (options.empty() ? "" : "?") + options;
  }

  /// The port of the primary that a sentinel names.
  int named_by(std::size_t index) {
    const std::string answer = sentinel(index).ask({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", name});
    const auto line = answer.find('\n');
    return line == std::string::npos ? 0 : std::stoi(answer.substr(line + 1));
  }

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
  bool speaks_tls() const noexcept { return listen_ == RedisProcess::on_tls; }

  void add_node() {
    std::vector<std::string> options = options_;
    options.insert(options.end(), {"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"});
    if (!password_.empty()) {
      options.insert(options.end(), {"--requirepass", password_, "--masterauth", password_});
    }
    if (!nodes_.empty()) options.insert(options.end(), {"--replicaof", "127.0.0.1", std::to_string(port(0))});
    nodes_.push_back(std::make_unique<RedisProcess>(std::move(options), listen_));
    nodes_.back()->use_password(password_);
  }

  void add_sentinel() {
    configs_.push_back(std::make_unique<TempDir>());
    const std::string path = configs_.back()->path() + "/sentinel.conf", watched(name);
    std::ofstream config(path);
    config << "sentinel monitor " << watched << " 127.0.0.1 " << port(0) << " " << quorum_ << "\n"
           << "sentinel down-after-milliseconds " << watched << " 1000\n"
           << "sentinel failover-timeout " << watched << " 10000\n";
    if (!password_.empty()) config << "sentinel auth-pass " << watched << " " << password_ << "\n";
    config.close();
    std::vector<std::string> options = {path, "--sentinel"};
    options.insert(options.end(), options_.begin(), options_.end());
    if (!sentinel_password_.empty()) {
      options.insert(options.end(), {"--requirepass", sentinel_password_});
    }
    sentinels_.push_back(std::make_unique<RedisProcess>(std::move(options), sentinels_listen_));
    sentinels_.back()->use_password(sentinel_password_);
  }

  template <class Condition>
  static void demand(Condition condition) {
    if (!eventually(condition, 30s)) throw std::runtime_error("the sentinels do not do what they should");
  }

  const std::size_t quorum_;
  const std::string password_, sentinel_password_;
  std::vector<std::string> options_;
  const RedisProcess::Listen listen_, sentinels_listen_;
  std::vector<std::unique_ptr<TempDir>> configs_;
  std::vector<std::unique_ptr<RedisProcess>> nodes_, sentinels_;
};

}  // namespace larder::testing
