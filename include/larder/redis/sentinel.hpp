// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
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
#include "detail/host_list.hpp"
#include "detail/pool_call.hpp"
#include "detail/primary_finder.hpp"
#include "options.hpp"
#include "reply.hpp"

namespace larder::redis {
inline namespace LARDER_HIREDIS_ABI {

/// The primary that sentinels watch over, whichever server that is. When the last answer of a sentinel is older than
/// `sentinel_check`, one of the callers asks again while its own command is under way, and waits for the answer for a
/// moment at most; a caller who meets a server that cannot be reached, or that is not the primary any more, asks at
/// once, or up to 150 ms after the last question. There is no background thread.
///
/// Connections to the primary are like those of a Pool, and make sure that it is the primary. A call ends by its
/// deadline, or within connect_timeout + command_timeout of the primary's options, the questions included. Thread-safe.
/// No call may be under way when it is destroyed.
class Sentinel : public Client {
 public:
  /// How to reach the sentinels, and the primary.
  struct Options {
    redis::Options primary;                          ///< of connections to the primary; host and port aside
    std::string sentinel_username;                   ///< empty: the default user
    std::string sentinel_password;                   ///< with no username either, empty: no authentication
    std::chrono::milliseconds sentinel_check{1000};  ///< how old the answer of a sentinel may be
    bool sentinel_tls = true;                        ///< with primary.tls: the sentinels speak TLS, too
  };

  /// `sentinels` are written host:port, and an IPv6 address in brackets; the port is 26379 if there is none. `name` is
  /// the primary's, as the sentinels know it. Throws InvalidArgument.
  Sentinel(const std::vector<std::string>& sentinels, std::string name, Options options = default_options())
      : settings_(settings(sentinels, std::move(name), std::move(options))) {
    finder_.get(settings_);
  }

  /// Another number if a connection to the primary was lost, or another server is the primary.
  std::uint64_t generation() const noexcept override {
    try {
      return finder_.get(settings_).generation();
    } catch (...) {
      return 0;
    }
  }

  void tend() override {
    Finder& finder = finder_.get(settings_);
    const detail::TimePoint now = detail::Clock::now();
    if (finder.is_due(now)) Finder::Question(finder, now).finish((Deadline::max)());
  }

 private:
  using Node = detail::Node;
  using Finder = detail::PrimaryFinder;

  static Options default_options() { return {}; }

  static Finder::Settings settings(const std::vector<std::string>& sentinels, std::string name, Options options) {
    Finder::Settings settings;
    settings.sentinels = detail::read_hosts(sentinels, 26379);
    if (name.empty()) throw InvalidArgument("Sentinel: the name of the primary must not be empty");
    if (options.sentinel_check.count() <= 0 || options.sentinel_check > std::chrono::hours(24 * 365)) {
      detail::throw_bad_option("sentinel_check", "must be more than 0, and at most a year");
    }
    options.primary.validate();
    settings.name = std::move(name);
    settings.node = options.primary;
    settings.node.primary_only = true;
    settings.sentinel = std::move(options.primary);
    settings.sentinel.primary_only = false;
    if (!options.sentinel_tls) detail::remove_tls(settings.sentinel);
    settings.sentinel.credentials = nullptr;
    settings.sentinel.username = std::move(options.sentinel_username);
    settings.sentinel.password = std::move(options.sentinel_password);
    // A hung sentinel delays the caller that asks it.
    const auto longest = (std::max)(std::chrono::milliseconds(200), settings.sentinel.connect_timeout * 2 / 5);
    for (auto* timeout : {&settings.sentinel.connect_timeout, &settings.sentinel.command_timeout}) {
      *timeout = (std::min)(*timeout, longest);
    }
    settings.sentinel.database = 0;
    settings.sentinel.connections = 1;
    settings.check = options.sentinel_check;
    return settings;
  }

  void do_run(const Command* commands, std::size_t count, Reply* replies, std::optional<Deadline> deadline) override {
    Finder& finder = finder_.get(settings_);
    const detail::TimePoint now = detail::Clock::now();
    const auto& options = settings_.node;
    const Deadline latest = deadline ? *deadline : now + options.connect_timeout + options.command_timeout;
    Node* node = finder.current();
    if (!node) {
      node = finder.find_other(nullptr, latest);
      if (!node) finder.throw_problem();
      deadline = latest;
    }
    if (!finder.is_due(now)) return run_on(*node, commands, count, replies, deadline, latest, nullptr);
    Finder::Question question(finder, now);
    run_on(*node, commands, count, replies, deadline, latest, &question);
    if (!question.is_open()) return;
    question.finish(latest);
    Node* const other = finder.current();
    if (other != node && is_repeatable(commands, count)) repeat_on(*other, commands, count, replies, latest);
  }

  // On the node, and on another one if it turns out that this is not the primary.
  void run_on(Node& node, const Command* commands, std::size_t count, Reply* replies, std::optional<Deadline> deadline,
              Deadline latest, Finder::Question* question) {
    Finder& finder = finder_.get(settings_);
    const auto find_other = [&] {
      if (question) question->finish(latest);
      return finder.current() != &node ? finder.current() : finder.find_other(&node, latest);
    };
    Node* other = nullptr;
    try {
      run_at(node, commands, count, replies, deadline);
    } catch (const ConnectionError& error) {
      if (is_repeatable(commands, count) || !error.outcome_unknown()) other = find_other();
      if (!other) throw;
    }
    if (other) return run_at(*other, commands, count, replies, latest);
    if (std::any_of(replies, replies + count, is_from_replica)) {
      other = find_other();
      if (other) run_refused_at(*other, commands, count, replies, latest);
    }
    if (finder.current() != &node) Finder::retire(node);  // another thread may have noticed before this one connected
  }

  static void run_at(Node& node, const Command* commands, std::size_t count, Reply* replies,
                     std::optional<Deadline> deadline) {
    detail::PoolCall(node.pool, commands, count, replies, deadline).finish();
  }

  // Those that a replica has refused. The others have been carried out.
  static void run_refused_at(Node& node, const Command* commands, std::size_t count, Reply* replies, Deadline latest) {
    std::vector<Command> refused;
    for (std::size_t i = 0; i < count; ++i) {
      if (is_from_replica(replies[i])) refused.push_back(commands[i]);
    }
    std::vector<Reply> answers(refused.size());
    run_at(node, refused.data(), refused.size(), answers.data(), latest);
    auto answer = answers.begin();
    for (std::size_t i = 0; i < count; ++i) {
      if (is_from_replica(replies[i])) replies[i] = std::move(*answer++);
    }
  }

  // What was carried out on a server that was not the primary any more. Without an answer the replies stay.
  static void repeat_on(Node& node, const Command* commands, std::size_t count, Reply* replies, Deadline latest) {
    try {
      std::vector<Reply> answers(count);
      run_at(node, commands, count, answers.data(), latest);
      std::move(answers.begin(), answers.end(), replies);
    } catch (const std::exception&) {
    }
  }

  static bool is_from_replica(const Reply& reply) noexcept {
    const std::string_view code = reply.failure().substr(0, reply.failure().find(' '));
    return code == "READONLY" || code == "MASTERDOWN";
  }

  static bool is_repeatable(const Command* commands, std::size_t count) noexcept {
    return std::all_of(commands, commands + count, [](const Command& command) { return command.repeatable(); });
  }

  const Finder::Settings settings_;
  mutable larder::detail::PerProcess<Finder> finder_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

// `redis+sentinel://[user[:password]@]host[:port],…/name[/database][?option=value&…]`. User and password are those of
// the primary.
inline std::shared_ptr<Client> make_sentinel(const Url& url) {
  Sentinel::Options options;
  std::string_view path = url.path.substr((std::min)(std::size_t{1}, url.path.size()));
  const std::string_view name = take_until(path, '/');
  options.primary = node_options(url, path, [&](auto visit) {
    visit("sentinel_username", options.sentinel_username);
    visit("sentinel_password", options.sentinel_password);
    visit("sentinel_check", options.sentinel_check);
    visit("sentinel_tls", options.sentinel_tls);
  });
  for (const auto& setting : url.settings) {
    if (setting.name == "sentinel_tls" && options.sentinel_tls && !options.primary.tls) {
      throw_bad_option("sentinel_tls", "needs TLS to the primary, too: rediss+sentinel://");
    }
  }
  return std::make_shared<Sentinel>(split_hosts(url.hosts), percent_decoded("name", name), std::move(options));
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
