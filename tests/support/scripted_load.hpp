#pragma once

// A load that stops where a test wants it to: in the loader, or before or after a hook of the cache.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <future>
#include <larder/base_cache.hpp>
#include <larder/forwarding_cache.hpp>
#include <larder/load.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace larder::testing {

/// Threads pass its steps; the first to reach the step that is closed stops there until it is opened.
class Gate {
 public:
  void close(std::string step) {
    const std::lock_guard<std::mutex> hold(mutex_);
    closed_ = std::move(step);
    reached_ = false;
    changed_.notify_all();
  }
  void open() {
    const std::lock_guard<std::mutex> hold(mutex_);
    closed_.clear();
    changed_.notify_all();
  }
  void pass(const std::string& step) {
    std::unique_lock<std::mutex> hold(mutex_);
    ++passed_[step];
    changed_.notify_all();
    if (closed_ != step || reached_) return;
    reached_ = true;
    changed_.notify_all();
    changed_.wait(hold, [&] { return closed_ != step; });
  }
  /// Waits until a thread stops at the closed step; false if `done` becomes true first.
  template <class Done>
  bool wait_until_reached(Done done) {
    std::unique_lock<std::mutex> hold(mutex_);
    while (!reached_ && !done()) changed_.wait_for(hold, std::chrono::milliseconds(1));
    return reached_;
  }
  void wait_until_reached() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    if (!wait_until_reached([&] { return std::chrono::steady_clock::now() > deadline; })) {
      throw std::runtime_error("nobody came to the closed step");
    }
  }
  std::size_t passed(const std::string& step) const {
    const std::lock_guard<std::mutex> hold(mutex_);
    const auto found = passed_.find(step);
    return found == passed_.end() ? 0 : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string closed_;
  bool reached_ = false;
  std::map<std::string, std::size_t> passed_;
};

/// A decorator whose hooks are steps of a gate, as in "before get" and "after get".
class GatedCache : public ForwardingCache {
 public:
  GatedCache(BaseCache& inner, Gate& gate) : ForwardingCache(inner), gate_(gate) {}

 private:
  template <class Hook>
  auto step(const char* name, Hook hook) {
    struct Leave {
      Gate& gate;
      std::string step;
      ~Leave() noexcept(false) { gate.pass(step); }
    } const leave{gate_, std::string("after ") + name};
    gate_.pass(std::string("before ") + name);
    return hook();
  }

  std::optional<std::string> do_get(std::string_view key) override {
    return step("get", [&] { return ForwardingCache::do_get(key); });
  }
  std::optional<Entry> do_get_entry(std::string_view key) override {
    return step("get", [&] { return ForwardingCache::do_get_entry(key); });
  }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    step("store", [&] { ForwardingCache::do_set(key, value, ttl); });
  }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    return step("store", [&] { return ForwardingCache::do_add(key, value, ttl); });
  }
  void do_get_many(const std::vector<std::string_view>& keys,
                   std::vector<std::optional<std::string>>& values) override {
    step("get", [&] { ForwardingCache::do_get_many(keys, values); });
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    step("store", [&] { ForwardingCache::do_set_many(items, ttl); });
  }

  Gate& gate_;
};

/// A decorator of the other kind: each hook calls the public function of the cache.
class PublicDecorator : public ForwardingCache {
 public:
  using ForwardingCache::ForwardingCache;
  explicit PublicDecorator(BaseCache& inner) : ForwardingCache(inner) {}

 private:
  static Expiry expiry(Ttl ttl) { return ttl ? Expiry(*ttl) : Expiry(); }

  std::optional<std::string> do_get(std::string_view key) override { return inner().get(key); }
  std::optional<Entry> do_get_entry(std::string_view key) override { return inner().get_entry(key); }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override { inner().set(key, value, expiry(ttl)); }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    return inner().add(key, value, expiry(ttl));
  }
  bool do_touch(std::string_view key, Ttl ttl) override { return inner().touch(key, expiry(ttl)); }
  bool do_erase(std::string_view key) override { return inner().erase(key); }
  void do_clear() override { inner().clear(); }
  void do_get_many(const std::vector<std::string_view>& keys,
                   std::vector<std::optional<std::string>>& values) override {
    for (auto& value : inner().get_many(keys)) values.push_back(std::move(value));
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override { inner().set_many(items, expiry(ttl)); }
  std::size_t do_erase_many(const std::vector<std::string_view>& keys) override { return inner().erase_many(keys); }
};

/// Changes a cache as another process would: nothing that knows of loads is told.
class UntoldChanges : public BaseCache {
 public:
  explicit UntoldChanges(BaseCache& inner) : inner_(inner) {}

 private:
  using Hooks = detail::CacheHooks;

  std::optional<std::string> do_get(std::string_view key) override { return Hooks::get(inner_, key); }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override { Hooks::set(inner_, key, value, ttl); }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    return Hooks::add(inner_, key, value, ttl);
  }
  bool do_touch(std::string_view key, Ttl ttl) override {
    const auto value = do_get(key);
    if (value) do_set(key, *value, ttl);
    return value.has_value();
  }
  bool do_erase(std::string_view key) override {
    const bool was_there = do_get(key).has_value();
    Hooks::erase(inner_, key);
    return was_there;
  }
  void do_clear() override { throw std::logic_error("only keys are changed untold"); }

  BaseCache& inner_;
};

/// A call in a thread of its own that has stopped in its loader. `call(gate)` returns what the load gave, and passes
/// the step "loader" of the gate in the loader.
template <class Call>
class StoppedLoad {
 public:
  using Result = std::invoke_result_t<Call&, Gate&>;

  explicit StoppedLoad(Call call) : call_(std::move(call)) {
    gate_.close("loader");
    result_ = std::async(std::launch::async, [this] { return call_(gate_); });
    gate_.wait_until_reached();
  }
  StoppedLoad(const StoppedLoad&) = delete;
  StoppedLoad& operator=(const StoppedLoad&) = delete;
  ~StoppedLoad() { gate_.open(); }

  /// Lets the loader go on, and gives what came of the call.
  Result end() {
    gate_.open();
    return result_.get();
  }

 private:
  Gate gate_;
  Call call_;
  std::future<Result> result_;
};

/// Keeps tasks until it is told to run them.
class Tasks {
 public:
  Executor executor() {
    return [this](std::function<void()> task) {
      const std::lock_guard<std::mutex> hold(mutex_);
      tasks_.push_back(std::move(task));
    };
  }
  std::size_t run() {
    std::vector<std::function<void()>> now;
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      now.swap(tasks_);
    }
    for (auto& task : now) task();
    return now.size();
  }

 private:
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;
};

/// What is cached: a number that only grows. Its loader is a step of the gate, "loader".
class Source {
 public:
  explicit Source(Gate& gate) : gate_(gate) {}

  std::string load() {
    const std::string value = now();
    gate_.pass("loader");
    return value;
  }
  std::string now() const {
    const std::lock_guard<std::mutex> hold(mutex_);
    return "version " + std::to_string(version_);
  }
  void change() {
    const std::lock_guard<std::mutex> hold(mutex_);
    ++version_;
  }

 private:
  Gate& gate_;
  mutable std::mutex mutex_;
  int version_ = 1;
};

}  // namespace larder::testing
