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

#include "detail/batch.hpp"
#include "detail/circuit.hpp"
#include "detail/lost_changes.hpp"
#include "detail/per_process.hpp"
#include "error.hpp"
#include "forwarding_cache.hpp"
#include "observer.hpp"
#include "statistics.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// A decorator for programs that go on when the cache is down: errors of the cache become misses, and after a few in a
/// row the cache is asked only now and then, by one call at a time. Of the cache's errors only InvalidArgument is
/// thrown, but by clear(), which is always tried and throws whatever it meets. Reads that fail are misses; add, touch,
/// contains and erase give false then, and erase_many 0.
///
/// A set, touch or erase that did not reach the cache is remembered, as the cache may still have the old value: until
/// the cache is back and the key has been erased, the key is a miss. Nothing is ever written late. This covers the
/// changes made through this object: values that other processes read, or this one after a restart, are bounded by
/// their expiry alone.
///
/// Thread-safe, like every cache.
class FailOpenCache : public ForwardingCache {
 public:
  /// When to stop asking, and what to remember.
  struct Options {
    /// Failures in a row after which the cache is asked only now and then.
    unsigned failures = 5;
    /// The longest time between two attempts then.
    std::chrono::milliseconds longest_break{1000};
    /// How many keys with lost changes are remembered. Once there are more, all reads are misses until clear() has
    /// worked, or forget_after has passed since the last change was lost.
    std::size_t remembered = 10'000;
    /// See `remembered`. Should be as long as the longest expiry that is used.
    std::chrono::seconds forget_after{3600};
    /// Is told of failures and of the circuit; may be null.
    std::shared_ptr<Observer> observer = {};
  };

  /// Over a cache that must outlive it.
  explicit FailOpenCache(BaseCache& inner) : FailOpenCache(inner, Options()) {}
  /// The same. Throws InvalidArgument if an option is out of range.
  FailOpenCache(BaseCache& inner, Options options) : ForwardingCache(inner), options_(checked(std::move(options))) {
    share_loads(true);
  }
  /// Over a cache that it keeps alive. Throws InvalidArgument if it is null.
  explicit FailOpenCache(std::shared_ptr<BaseCache> inner) : FailOpenCache(std::move(inner), Options()) {}
  /// The same. Throws InvalidArgument if an option is out of range.
  FailOpenCache(std::shared_ptr<BaseCache> inner, Options options)
      : ForwardingCache(std::move(inner)), options_(checked(std::move(options))) {
    share_loads(true);
  }
  /// Over another FailOpenCache, which must outlive it: not a copy.
  explicit FailOpenCache(FailOpenCache& inner) : FailOpenCache(static_cast<BaseCache&>(inner)) {}

  /// Whether the cache is asked only now and then.
  bool circuit_open() const noexcept { return circuit_.is_open(); }

  /// What was counted; `errors` are those that became misses.
  CacheStats stats() const {
    CacheStats stats;
    stats.hits = hits_.load(relaxed);
    stats.misses = misses_.load(relaxed);
    stats.sets = sets_.load(relaxed);
    stats.erases = erases_.load(relaxed);
    stats.errors = errors_.load(relaxed);
    return stats;
  }

 private:
  using Pass = detail::Circuit::Pass;
  using Keys = std::vector<std::string_view>;
  using Values = std::vector<std::optional<std::string>>;
  static constexpr auto relaxed = std::memory_order_relaxed;

  std::optional<std::string> do_get(std::string_view key) override {
    std::optional<std::string> value;
    if (may_read(key)) attempt("get", [&] { value = ForwardingCache::do_get(key); });
    count_reads(value ? 1 : 0, 1);
    return value;
  }
  std::optional<Entry> do_get_entry(std::string_view key) override {
    std::optional<Entry> entry;
    if (may_read(key)) attempt("get_entry", [&] { entry = ForwardingCache::do_get_entry(key); });
    count_reads(entry ? 1 : 0, 1);
    return entry;
  }
  bool do_contains(std::string_view key) override {
    bool contains = false;
    if (may_read(key)) attempt("contains", [&] { contains = ForwardingCache::do_contains(key); });
    return contains;
  }
  void do_get_many(const Keys& keys, Values& values) override {
    repair();
    Values read;
    const bool whole = attempt("get_many", [&] {
      try {
        ForwardingCache::do_get_many(keys, read);
      } catch (const BatchError& error) {
        read = error.values();  // what was read of the others
        throw;
      } catch (...) {
        read.clear();
        throw;
      }
    });
    if (!whole && read.size() != keys.size()) read.clear();
    read.resize(keys.size());
    std::uint64_t hits = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (is_hidden(keys[i])) read[i].reset();
      hits += read[i] ? 1U : 0U;
      values.push_back(std::move(read[i]));
    }
    count_reads(hits, keys.size());
  }

  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    if (change("set", {key}, [&] { ForwardingCache::do_set(key, value, ttl); })) sets_.fetch_add(1, relaxed);
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    const bool stored = change("set_many", detail::keys_of(items), [&] { ForwardingCache::do_set_many(items, ttl); });
    if (stored) sets_.fetch_add(items.size(), relaxed);
  }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    bool added = false;
    if (may_read(key)) attempt("add", [&] { added = ForwardingCache::do_add(key, value, ttl); });
    if (added) sets_.fetch_add(1, relaxed);
    return added;
  }
  bool do_touch(std::string_view key, Ttl ttl) override {
    bool touched = false;
    repair();
    if (is_hidden(key)) return false;
    if (!attempt("touch", [&] { touched = ForwardingCache::do_touch(key, ttl); })) lose({key});
    return touched;
  }
  bool do_erase(std::string_view key) override {
    bool erased = false;
    change("erase", {key}, [&] { erased = ForwardingCache::do_erase(key); });
    if (erased) erases_.fetch_add(1, relaxed);
    return erased;
  }
  std::size_t do_erase_many(const Keys& keys) override {
    std::size_t erased = 0;
    change("erase_many", keys, [&] { erased = ForwardingCache::do_erase_many(keys); });
    erases_.fetch_add(erased, relaxed);
    return erased;
  }
  void do_clear() override {
    detail::LostChanges& lost = lost_.get();
    const auto before = lost.last();
    try {
      ForwardingCache::do_clear();
    } catch (const Error& error) {
      errors_.fetch_add(1, relaxed);
      if (detail::is_outage()) tell_failed(Pass::normal);
      throw;
    }
    tell_succeeded();
    lost.cleared(before);
  }
  std::uint64_t do_hidden_failures() const noexcept override {
    return ForwardingCache::do_hidden_failures() + hidden_.load(relaxed);
  }

  // Makes a call, if the circuit lets it through; false: it failed, or was not made.
  template <class Call>
  bool attempt(const char* operation, Call call) {
    struct Attempt {
      detail::Circuit& circuit;
      Pass pass;
      bool told = false;
      ~Attempt() {
        if (!told) circuit.gave_up(pass);
      }
    } attempt{circuit_, circuit_.enter()};
    if (attempt.pass == Pass::refused) {
      hidden_.fetch_add(1, relaxed);
      return false;
    }
    try {
      call();
    } catch (const InvalidArgument&) {
      throw;
    } catch (const Error& error) {
      attempt.told = true;
      hidden_.fetch_add(1, relaxed);
      errors_.fetch_add(1, relaxed);
      if (options_.observer) options_.observer->cache_failed(operation, error);
      detail::is_outage() ? tell_failed(attempt.pass) : tell_succeeded();
      return false;
    }
    attempt.told = true;
    tell_succeeded();
    return true;
  }

  template <class Call>
  bool change(const char* operation, const Keys& keys, Call call) {
    repair();
    const auto before = lost_.get().last();
    bool done = false;
    try {
      done = attempt(operation, call);
    } catch (const InvalidArgument&) {
      throw;
    } catch (...) {  // no memory for the answer, say
      lose(keys);
      throw;
    }
    if (!done) lose(keys);
    for (const auto key : keys) {
      if (done) lost_.get().replaced(key, before);
    }
    return done;
  }
  void lose(const Keys& keys) {
    for (const auto key : keys) lost_.get().add(key, options_.remembered);
  }

  // Erases the keys whose changes were lost, if there are any and the cache is back.
  void repair() {
    detail::LostChanges* const known = lost_.find();
    if (known == nullptr || !known->any() || circuit_.refuses()) return;
    detail::LostChanges& lost = lost_.get();
    struct Repair {
      detail::LostChanges& lost;
      std::vector<detail::LostChanges::Lost> keys;
      bool erased = false;
      ~Repair() {
        if (keys.empty()) return;
        if (!erased) keys.clear();
        lost.end_repair(keys, erased ? std::chrono::milliseconds(0) : std::chrono::milliseconds(50));
      }
    } due{lost, lost.begin_repair(circuit_.is_open())};
    if (due.keys.empty()) return;
    due.erased = attempt("erase_many", [&] {
      Keys piece;
      for (const auto& it : due.keys) {
        piece.push_back(it.key);
        if (piece.size() < piece_items && &it != &due.keys.back()) continue;
        ForwardingCache::do_erase_many(piece);
        piece.clear();
      }
    });
  }

  bool is_hidden(std::string_view key) {
    detail::LostChanges* const known = lost_.find();
    if (known == nullptr || !known->any() || !lost_.get().hide(key, options_.forget_after)) return false;
    hidden_.fetch_add(1, relaxed);
    return true;
  }
  bool may_read(std::string_view key) {
    repair();
    return !is_hidden(key);
  }

  void tell_succeeded() noexcept {
    if (circuit_.succeeded() && options_.observer) options_.observer->circuit(false);
  }
  void tell_failed(Pass pass) noexcept {
    if (circuit_.failed(pass) && options_.observer) options_.observer->circuit(true);
  }
  void count_reads(std::uint64_t hits, std::uint64_t all) noexcept {
    hits_.fetch_add(hits, relaxed);
    misses_.fetch_add(all - hits, relaxed);
  }

  static Options checked(Options options) {
    if (options.failures == 0) throw InvalidArgument("FailOpenCache::Options::failures must not be 0");
    if (options.longest_break.count() < 0 || options.forget_after.count() < 0) {
      throw InvalidArgument("FailOpenCache::Options: a time must not be negative");
    }
    options.longest_break = (std::min)(options.longest_break, std::chrono::milliseconds(std::chrono::hours(24 * 365)));
    options.forget_after = (std::min)(options.forget_after, std::chrono::seconds(std::chrono::hours(24 * 365 * 100)));
    return options;
  }

  const Options options_;
  detail::Circuit circuit_{options_.failures, options_.longest_break};
  detail::PerProcess<detail::LostChanges> lost_;
  std::atomic<std::uint64_t> hits_{0}, misses_{0}, sets_{0}, erases_{0}, errors_{0}, hidden_{0};
};

}  // namespace LARDER_ABI
}  // namespace larder
