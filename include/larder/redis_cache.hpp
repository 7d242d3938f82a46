// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
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
#include "redis/pool.hpp"

namespace larder {
inline namespace LARDER_HIREDIS_ABI {

/// A cache in Redis or Valkey: exactly the given bytes under prefix + key, so that any other client reads them.
///
/// All calls are thread-safe. Beside InvalidArgument they throw ConnectionError (TimeoutError, ProtocolError) when the
/// server cannot be asked, and ServerError when it refuses; the cache can be used on. Commands: GET, SET, MGET, DEL,
/// EXISTS, PEXPIRE, PERSIST, SCAN.
class RedisCache : public BaseCache {
 public:
  /// Uses a connected, blocking context, which stays the caller's and must outlive the cache. Nothing else may use it
  /// during a call. A call that fails halfway, or finds something left half done, marks it with an error, so that
  /// nobody reads another's reply from it; redisReconnect() makes it usable again. Throws InvalidArgument if it cannot
  /// be used.
  explicit RedisCache(redisContext* connection, std::string prefix = {})
      : RedisCache(std::make_shared<redis::Pool>(connection), std::move(prefix)) {}

  /// Uses connections of its own to the server that the URL names (see redis::Options::from_url), opened when they are
  /// needed.
  explicit RedisCache(std::string_view url, std::string prefix = {})
      : RedisCache(std::make_shared<redis::Pool>(redis::Options::from_url(url)), std::move(prefix)) {}

  /// Uses a client, which may be shared.
  explicit RedisCache(std::shared_ptr<redis::Client> client, std::string prefix = {})
      : client_(std::move(client)), prefix_(std::move(prefix)) {
    if (!client_) throw InvalidArgument("RedisCache: the client is null");
    check_key({});
  }

 private:
  using Client = redis::Client;
  using Command = redis::Command;
  using Reply = redis::Reply;
  using Kind = redis::Reply::Kind;
  using Keys = std::vector<std::string_view>;
  using Values = std::vector<std::optional<std::string>>;
  using Refusals = std::vector<BatchError::Refusal>;

  // Redis adds the time of day to an expiry and refuses a sum over 2^63 ms: this leaves room for clocks until the year
  // 2500.
  static constexpr std::int64_t max_ttl = INT64_MAX - (std::int64_t{1} << 44);
  static constexpr std::size_t keys_per_command = 128;  // bounds how long one command keeps the server from others
  static constexpr std::int64_t keys_per_scan = 1000;   // keys looked at by one SCAN

  std::optional<std::string> do_get(std::string_view key) override {
    return client_->run(key_command("GET", key, Kind::string)).take_string();
  }

  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    if (!client_->run(set_command(key, value, ttl)).is_status()) throw_unexpected();
  }

  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    return client_->run(set_command(key, value, ttl, true)).is_status();
  }

  bool do_touch(std::string_view key, Ttl ttl) override {
    if (ttl) {
      return client_->run(Command("PEXPIRE", full(key), milliseconds(*ttl)).expects(Kind::integer)).integer() != 0;
    }
    std::vector<Command> commands;  // PERSIST does not tell a key without expiry from no key
    commands.push_back(key_command("EXISTS", key, Kind::integer));
    commands.push_back(key_command("PERSIST", key, Kind::integer));
    auto replies = run_all(*client_, commands);
    const bool existed = replies[0].integer() != 0;
    const bool persists = replies[1].integer() != 0;
    return existed || persists;
  }

  bool do_contains(std::string_view key) override {
    return client_->run(key_command("EXISTS", key, Kind::integer)).integer() != 0;
  }

  bool do_erase(std::string_view key) override {
    return client_->run(key_command("DEL", key, Kind::integer)).integer() != 0;
  }

  void do_get_many(const Keys& keys, Values& values) override {
    run_on_keys("MGET", Kind::array, keys, [&](Reply& reply, std::size_t count) {
      auto elements = reply.take_array();
      if (elements.size() != count) throw_unexpected();
      for (Reply& element : elements) values.push_back(element.take_string());
    });
  }

  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    std::vector<Command> commands;
    commands.reserve(items.size());
    for (const auto& [key, value] : items) commands.push_back(set_command(key, value, ttl));
    auto replies = run_all(*client_, commands);
    Refusals refusals;
    for (std::size_t i = 0; i < replies.size(); ++i) {
      if (!refused(replies[i], i, refusals) && !replies[i].is_status()) throw_unexpected();
    }
    throw_if_any(std::move(refusals), items.size());
  }

  std::size_t do_erase_many(const Keys& keys) override {
    std::size_t erased = 0;
    run_on_keys("DEL", Kind::integer, keys,
                [&](Reply& reply, std::size_t) { erased += static_cast<std::size_t>(reply.integer()); });
    return erased;
  }

  // The keys of a page are deleted while the next page is read. SCAN may show a key twice, and DEL does not mind.
  void do_clear() override {
    const std::string pattern = escaped(prefix_) + '*';
    for (Client* node : client_->primaries()) {
      std::string cursor = "0";
      Reply::Array page;
      do {
        std::vector<Command> commands;
        commands.emplace_back("SCAN", cursor, "MATCH", pattern, "COUNT", keys_per_scan).expects(Kind::array);
        if (const Keys keys = ours(page); !keys.empty()) commands.push_back(del_command(keys));
        auto replies = run_all(*node, commands);
        if (replies.size() > 1) replies[1].integer();
        page = take_page(replies[0], cursor);
      } while (cursor != "0");
      if (const Keys keys = ours(page); !keys.empty()) node->run(del_command(keys)).integer();
    }
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

  Command set_command(std::string_view key, std::string_view value, Ttl ttl, bool only_if_absent = false) const {
    const redis::Key name = full(key);
    const redis::Value bytes(value);
    Command command = ttl ? Command("SET", name, bytes, "PX", milliseconds(*ttl)) : Command("SET", name, bytes);
    if (only_if_absent) command.add("NX").never_repeat();
    command.expects(Kind::status);
    return command;
  }

  static Command del_command(const Keys& keys) {
    Command command("DEL");
    for (const auto key : keys) command.add(redis::Key(key));
    command.expects(Kind::integer);
    return command;
  }

  // Reads the keys and the next cursor that SCAN answers with.
  static Reply::Array take_page(Reply& reply, std::string& cursor) {
    auto parts = reply.take_array();
    if (parts.size() != 2) throw_unexpected();
    auto next = parts[0].take_string();
    if (!next) throw_unexpected();
    cursor = std::move(*next);
    return parts[1].take_array();
  }

  // What does not begin with the prefix is not ours to delete, whatever the server thinks of the pattern.
  Keys ours(const Reply::Array& page) const {
    Keys keys;
    keys.reserve(page.size());
    for (const Reply& element : page) {
      const auto key = element.string();
      if (key.substr(0, prefix_.size()) == prefix_) keys.push_back(key);
    }
    return keys;
  }

  // Runs a command that takes any number of keys on all of them, and gives each reply to take(reply, number of keys).
  // One key that the user may not touch fails a whole command: its keys are then tried one by one.
  template <class Take>
  void run_on_keys(std::string_view name, Kind answer, const Keys& keys, Take take) {
    const auto run = [&](std::size_t begin, std::size_t end, std::size_t step) {
      std::vector<Command> commands;
      commands.reserve((end - begin) / step + 1);
      for (std::size_t i = begin; i < end; i += step) {
        const std::size_t count = (std::min)(step, end - i);
        Command& command = commands.emplace_back(name).expects(answer);
        for (std::size_t key = i; key < i + count; ++key) command.add(full(keys[key]));
      }
      return run_all(*client_, commands);
    };
    Refusals refusals;
    auto replies = run(0, keys.size(), keys_per_command);
    for (std::size_t i = 0; i < replies.size(); ++i) {
      const std::size_t begin = i * keys_per_command;
      const std::size_t end = (std::min)(begin + keys_per_command, keys.size());
      if (replies[i].failure().substr(0, 6) != "NOPERM") {
        for (std::size_t key = begin; key < end && refused(replies[i], key, refusals);) ++key;
        if (replies[i].failure().empty()) take(replies[i], end - begin);
        continue;
      }
      auto singles = run(begin, end, 1);
      for (std::size_t key = begin; key < end; ++key) {
        if (!refused(singles[key - begin], key, refusals)) take(singles[key - begin], 1);
      }
    }
    throw_if_any(std::move(refusals), keys.size());
  }

  static std::vector<Reply> run_all(Client& client, const std::vector<Command>& commands) {
    auto replies = client.run(commands);
    if (replies.size() != commands.size()) throw_unexpected();
    return replies;
  }

  static bool refused(const Reply& reply, std::size_t index, Refusals& refusals) {
    if (reply.failure().empty()) return false;
    refusals.push_back({index, std::string(reply.failure())});
    return true;
  }

  static void throw_if_any(Refusals refusals, std::size_t sent) {
    if (!refusals.empty()) throw BatchError(std::move(refusals), sent);
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

  // As a pattern for MATCH that is matched by these bytes alone.
  static std::string escaped(std::string_view text) {
    std::string pattern;
    for (const char c : text) {
      if (c == '\\' || c == '*' || c == '?' || c == '[' || c == ']') pattern += '\\';
      pattern += c;
    }
    return pattern;
  }

  const std::shared_ptr<Client> client_;
  const std::string prefix_;
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder
