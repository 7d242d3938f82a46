// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base_cache.hpp"
#include "redis/client.hpp"
#include "redis/detail/hiredis.hpp"
#include "redis/detail/key_batch.hpp"
#include "redis/detail/remove_prefix.hpp"
#include "redis/make_client.hpp"
#include "redis/pool.hpp"
#include "statistics.hpp"

namespace larder {
inline namespace LARDER_HIREDIS_ABI {

/// A cache in Redis or Valkey: exactly the given bytes under prefix + key, so that any other client reads them.
///
/// All calls are thread-safe. Besides InvalidArgument they throw ConnectionError (TimeoutError, ProtocolError) when the
/// server cannot be asked, and ServerError when it refuses; the cache can be used on. Commands: GET, SET, MGET, DEL,
/// EXISTS, PEXPIRE, PERSIST, PTTL, SCAN.
///
/// An empty prefix makes the whole database the cache: clear() then removes every key in it, no matter whose.
class RedisCache : public BaseCache {
 public:
  /// Uses a connected, blocking context, which stays the caller's and must outlive the cache. Nothing else may use it
  /// during a call. A call that fails halfway, or finds something left half done, marks it with an error, so that
  /// nobody reads another's reply from it; redisReconnect() makes it usable again. Throws InvalidArgument if it cannot
  /// be used.
  explicit RedisCache(redisContext* connection, std::string prefix = {})
      : RedisCache(std::make_shared<redis::Pool>(connection), std::move(prefix)) {}

  /// Uses connections of its own to the server that the URL names (see redis::make_client()), opened when they are
  /// needed.
  explicit RedisCache(std::string_view url, std::string prefix = {})
      : RedisCache(redis::make_client(url), std::move(prefix)) {}

  /// Uses a client, which may be shared.
  explicit RedisCache(std::shared_ptr<redis::Client> client, std::string prefix = {})
      : RedisCache(std::move(client), std::move(prefix), no_timeout) {}

  /// Uses a client, which may be shared. Each call of this cache, and each piece of a batch or of clear(), ends within
  /// `timeout`, connecting included; it is more than 0 and at most a year.
  RedisCache(std::shared_ptr<redis::Client> client, std::string prefix, std::chrono::milliseconds timeout)
      : client_(std::move(client)), prefix_(std::move(prefix)), timeout_(timeout) {
    if (!client_) throw InvalidArgument("RedisCache: the client is null");
    if (timeout != no_timeout && (timeout.count() <= 0 || timeout > std::chrono::hours(24 * 365))) {
      throw InvalidArgument("RedisCache: the timeout must be more than 0, and at most a year");
    }
    check_key({});
  }

  /// What it has counted. `entries`, `bytes`, `evictions`, `expirations` and `refused` stay 0: only the server knows.
  CacheStats stats() const {
    CacheStats stats;
    stats.hits = hits_;
    stats.misses = misses_;
    stats.sets = sets_;
    stats.erases = erases_;
    stats.errors = errors_;
    return stats;
  }

 private:
  using Client = redis::Client;
  using Command = redis::Command;
  using Deadline = std::optional<redis::Deadline>;
  using Reply = redis::Reply;
  using Kind = redis::Reply::Kind;
  using Keys = std::vector<std::string_view>;
  using Values = std::vector<std::optional<std::string>>;
  using Refusals = std::vector<BatchError::Refusal>;
  using Counter = std::atomic<std::uint64_t>;

  // Redis adds the time of day to an expiry and refuses a sum over 2^63 ms: this leaves room for clocks until the year
  // 2500.
  static constexpr std::int64_t max_ttl = INT64_MAX - (std::int64_t{1} << 44);
  static constexpr std::chrono::milliseconds no_timeout = (std::chrono::milliseconds::max)();

  std::optional<std::string> do_get(std::string_view key) override {
    return counted([&] {
      Reply reply = client_->run(key_command("GET", key, Kind::string), deadline());
      return read(reply);
    });
  }

  bool do_tells_time() const noexcept override { return true; }

  // PTTL first: the value may expire, but the time left is never that of a later value.
  std::optional<Entry> do_get_entry(std::string_view key) override {
    return counted([&]() -> std::optional<Entry> {
      auto replies =
          client_->run({key_command("PTTL", key, Kind::integer), key_command("GET", key, Kind::string)}, deadline());
      auto value = read(replies[1]);
      if (!value) return std::nullopt;
      return Entry{std::move(*value), time_left(replies[0].integer())};
    });
  }

  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    counted([&] {
      if (!client_->run(set_command(key, value, ttl), deadline()).is_ok()) throw_unexpected();
      count(sets_);
    });
  }

  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    return counted([&] {
      const bool added = client_->run(set_command(key, value, ttl).add("NX").never_repeat(), deadline()).is_ok();
      if (added) count(sets_);
      return added;
    });
  }

  bool do_touch(std::string_view key, Ttl ttl) override {
    return counted([&] {
      if (ttl) {
        const Command command = Command("PEXPIRE", full(key), milliseconds(*ttl)).expects(Kind::integer);
        return client_->run(command, deadline()).integer() != 0;
      }
      // PERSIST does not tell a key without expiry from no key.
      const auto replies = client_->run(
          {key_command("EXISTS", key, Kind::integer), key_command("PERSIST", key, Kind::integer)}, deadline());
      const bool existed = replies[0].integer() != 0;
      const bool persists = replies[1].integer() != 0;
      return existed || persists;
    });
  }

  bool do_contains(std::string_view key) override {
    return counted([&] { return client_->run(key_command("EXISTS", key, Kind::integer), deadline()).integer() != 0; });
  }

  bool do_erase(std::string_view key) override {
    return counted([&] {
      const bool erased = client_->run(key_command("DEL", key, Kind::integer), deadline()).integer() != 0;
      if (erased) count(erases_);
      return erased;
    });
  }

  void do_get_many(const Keys& keys, Values& values) override {
    counted([&] {
      const auto begin = static_cast<std::ptrdiff_t>(values.size());
      values.resize(values.size() + keys.size());
      const auto read_all = [&](Reply& reply, std::size_t first, std::size_t number) {
        auto elements = reply.take_array();
        if (elements.size() != number) throw_unexpected();
        auto value = values.begin() + begin + static_cast<std::ptrdiff_t>(first);
        for (Reply& element : elements) *value++ = read(element);
      };
      Refusals refusals = run_on_keys("MGET", Kind::array, keys, read_all);
      if (!refusals.empty()) throw BatchError(std::move(refusals), keys.size(), {values.begin() + begin, values.end()});
    });
  }

  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    counted([&] {
      std::vector<Command> commands;
      commands.reserve(items.size());
      for (const auto& [key, value] : items) commands.push_back(set_command(key, value, ttl));
      const auto replies = client_->run(commands, deadline());
      Refusals refusals;
      for (std::size_t i = 0; i < replies.size(); ++i) {
        if (refused(replies[i], i, refusals)) continue;
        if (!replies[i].is_ok()) throw_unexpected();
        count(sets_);
      }
      if (!refusals.empty()) throw BatchError(std::move(refusals), items.size());
    });
  }

  std::size_t do_erase_many(const Keys& keys) override {
    return counted([&] {
      std::size_t erased = 0;
      const auto add_up = [&](const Reply& reply, std::size_t, std::size_t) {
        const auto number = static_cast<std::size_t>(reply.integer());
        erased += number;
        count(erases_, number);
      };
      Refusals refusals = run_on_keys("DEL", Kind::integer, keys, add_up);
      if (!refusals.empty()) throw BatchError(std::move(refusals), keys.size());
      return erased;
    });
  }

  void do_clear() override {
    counted([&] { redis::detail::remove_prefix(*client_, prefix_, [&] { return deadline(); }); });
  }

  // Runs a command that takes any number of keys on all of them, and gives take(reply, first key, number of keys) the
  // replies that are no refusals; the others are returned, in the order of the keys.
  template <class Take>
  Refusals run_on_keys(std::string_view name, Kind answer, const Keys& keys, Take take) {
    for (const auto key : keys) check_key(key);
    return redis::detail::KeyBatch(*client_, name, answer, prefix_, keys).run(deadline(), take);
  }

  // With the prefix.
  redis::Key full(std::string_view key) const {
    check_key(key);
    return {prefix_, key};
  }

  Command key_command(std::string_view name, std::string_view key, Kind answer) const {
    Command command(name, full(key));
    command.expects(answer);
    return command;
  }

  Command set_command(std::string_view key, std::string_view value, Ttl ttl) const {
    const redis::Key name = full(key);
    const redis::Value bytes(value);
    Command command = ttl ? Command("SET", name, bytes, "PX", milliseconds(*ttl)) : Command("SET", name, bytes);
    command.expects(Kind::status);
    return command;
  }

  // Until when a call may last, where this cache has a timeout of its own.
  Deadline deadline() const {
    if (timeout_ == no_timeout) return std::nullopt;
    return std::chrono::steady_clock::now() + timeout_;
  }

  // The value in the answer to GET, or in a part of that to MGET.
  std::optional<std::string> read(Reply& reply) {
    auto value = reply.take_string();
    count(value ? hits_ : misses_);
    return value;
  }

  // As PTTL has it: -1 never expires, -2 was not there. 0 is less than a millisecond, for a value that was live.
  static std::optional<std::chrono::milliseconds> time_left(std::int64_t pttl) noexcept {
    if (pttl == -1) return (std::chrono::milliseconds::max)();
    return pttl < 0 ? std::nullopt : std::optional<std::chrono::milliseconds>((std::max)(pttl, std::int64_t{1}));
  }

  template <class Call>
  auto counted(Call call) -> decltype(call()) {
    try {
      return call();
    } catch (...) {
      count(errors_);
      throw;
    }
  }

  static void count(Counter& counter, std::uint64_t number = 1) noexcept {
    counter.fetch_add(number, std::memory_order_relaxed);
  }

  static bool refused(const Reply& reply, std::size_t index, Refusals& refusals) {
    if (reply.failure().empty()) return false;
    refusals.push_back({index, std::string(reply.failure())});
    return true;
  }

  [[noreturn]] static void throw_unexpected() { throw ProtocolError("the server's answer does not fit the command"); }

  void check_key(std::string_view key) const {
    if (prefix_.size() + key.size() > max_length) {
      throw InvalidArgument("a prefix and key of " + std::to_string(prefix_.size() + key.size()) +
                            " bytes is over the limit of 512 MiB");
    }
  }

  static std::int64_t milliseconds(std::chrono::milliseconds ttl) {
    return (std::min)(std::int64_t{ttl.count()}, max_ttl);
  }

  const std::shared_ptr<Client> client_;
  const std::string prefix_;
  const std::chrono::milliseconds timeout_;  // of a call
  Counter hits_{0}, misses_{0}, sets_{0}, erases_{0}, errors_{0};
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder
