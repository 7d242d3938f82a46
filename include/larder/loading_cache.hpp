// SPDX-License-Identifier: MIT
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base_cache.hpp"
#include "detail/fwd.hpp"
#include "detail/key_text.hpp"
#include "detail/load_one.hpp"
#include "detail/loader.hpp"
#include "detail/per_process.hpp"
#include "detail/typed_range.hpp"
#include "error.hpp"
#include "expiry.hpp"
#include "load.hpp"
#include "statistics.hpp"
#include "typed_cache.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// A TypedCache with a loader for life, which may load in the background: with an executor and LoadOptions::keep_stale
/// (or, where a key is read often, LoadOptions::early_refresh) nobody waits for a value that was there once.
///
/// The loader is `Value loader(const Key&)` or `Value loader(const Key&, LoadContext<Value>&)`; it is called by many
/// threads at once. The executor runs tasks some time, on any thread. It may drop them or throw: then it is as if no
/// refresh had been asked for. All functions are thread-safe.
template <class Key, class Value, class ValueCodec>
class LoadingCache {
 public:
  /// Over a cache that must outlive it; the rest is as for TypedCache. `expires` is that of each value, unless the
  /// loader says otherwise.
  template <class Loader>
  LoadingCache(BaseCache& cache, std::string prefix, Expiry expires, Loader loader, Executor executor = {},
               LoadOptions options = {})
      : LoadingCache(View(cache, std::move(prefix), std::move(options)), expires, std::move(loader),
                     std::move(executor)) {}
  /// Over a cache that it keeps alive.
  template <class Loader>
  LoadingCache(std::shared_ptr<BaseCache> cache, std::string prefix, Expiry expires, Loader loader,
               Executor executor = {}, LoadOptions options = {})
      : LoadingCache(View(std::move(cache), std::move(prefix), std::move(options)), expires, std::move(loader),
                     std::move(executor)) {}

  LoadingCache(const LoadingCache&) = delete;
  LoadingCache& operator=(const LoadingCache&) = delete;

  /// Drops the refreshes that have not begun, and waits for those that run.
  ~LoadingCache() { state_->background.get().close(); }

  /// The value, loaded if it is not there. Throws what the loader throws.
  Value get(const Key& key) { return get(key, nullptr); }

  /// The values of many keys, in the order of the keys: one read for all, then the missing ones one by one.
  template <class Keys>
  std::vector<Value> get_many(const Keys& keys) {
    std::vector<Value> values;
    if constexpr (detail::is_range_of<Keys, Key>()) {
      if (state_->view.keeps_stale()) {
        bool failed = false;
        for (auto&& key : keys) values.push_back(get(detail::key_of<Key>(key), &failed));
      } else {
        get_fresh(keys, values);
      }
    }
    return values;
  }
  /// The same for keys in braces.
  std::vector<Value> get_many(std::initializer_list<Key> keys) { return get_many<std::initializer_list<Key>>(keys); }

  /// Loads a key anew. With an executor it returns at once, and failures are counted and told to the observer; without
  /// one it loads here, and throws what the loader throws. A load of the key that is under way is joined.
  void refresh(const Key& key) {
    if (state_->executor) {
      refresh_later(key);
    } else {
      state_->refresh(key, false);
    }
  }

  /// Stores a value with this cache's expiry.
  void set(const Key& key, const Value& value) { state_->view.set(key, value, state_->expires); }

  /// Removes a key; true if it was there.
  bool erase(const Key& key) { return state_->view.erase(key); }

  /// What was counted.
  LoadStats stats() const { return state_->view.stats(); }

 private:
  using View = TypedCache<Key, Value, ValueCodec>;

  struct AnyLoader {
    virtual ~AnyLoader() = default;
    virtual Value load(const Key& key, LoadContext<Value>& context) = 0;
  };
  template <class Loader>
  struct LoaderOf final : AnyLoader {
    explicit LoaderOf(Loader its_loader) : loader(std::move(its_loader)) {}
    Value load(const Key& key, LoadContext<Value>& context) override {
      return detail::call_loader<Value>(loader, context, key);
    }
    Loader loader;
  };

  // The refreshes of this process.
  class Background {
   public:
    // False: there is one to come already.
    bool add(const std::string& text) {
      const std::lock_guard<std::mutex> hold(mutex_);
      return to_come_.insert(text).second;
    }
    bool begin(const std::string& text) {
      const std::lock_guard<std::mutex> hold(mutex_);
      to_come_.erase(text);
      if (closed_) return false;
      ++running_;
      return true;
    }
    void end() {
      const std::lock_guard<std::mutex> hold(mutex_);
      --running_;
      changed_.notify_all();
    }
    void drop(const std::string& text) {
      const std::lock_guard<std::mutex> hold(mutex_);
      to_come_.erase(text);
    }
    void close() {
      std::unique_lock<std::mutex> hold(mutex_);
      closed_ = true;
      changed_.wait(hold, [&] { return running_ == 0; });
    }

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::unordered_set<std::string> to_come_;
    std::size_t running_ = 0;
    bool closed_ = false;
  };

  struct State {
    void refresh(const Key& key, bool in_background) {
      auto load = [&](LoadContext<Value>& context) { return loader->load(key, context); };
      const detail::KeyText text(view.state_->prefix, key);
      detail::checked_size(text.text());
      const auto loads = view.state_->view();
      detail::LoadOne<Value, ValueCodec, decltype(load)>(loads, text.text(), expires, load).refresh(in_background);
    }

    const View view;
    const Expiry expires;
    const std::unique_ptr<AnyLoader> loader;
    const Executor executor;
    detail::PerProcess<Background> background;
  };

  // A refresh that an executor runs, or drops.
  struct Task {
    Task(std::shared_ptr<State> its_state, const Key& its_key, std::string its_text)
        : state(std::move(its_state)), key(its_key), text(std::move(its_text)) {}
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    ~Task() {
      if (!begun) state->background.get().drop(text);
    }

    void run() {
      if (begun) return;
      begun = true;
      Background& background = state->background.get();
      if (!background.begin(text)) return;
      struct End {
        Background& background;
        ~End() { background.end(); }
      } const end{background};
      try {
        state->refresh(key, true);
      } catch (...) {  // counted, and told to the observer
        if (detail::thread_ends()) throw;
      }
    }

    const std::shared_ptr<State> state;
    const Key key;
    const std::string text;
    bool begun = false;
  };

  template <class Loader>
  LoadingCache(View view, Expiry expires, Loader loader, Executor executor) {
    constexpr bool is_loader = detail::is_loader<Loader, Value, const Key&>;
    static_assert(
        is_loader,
        "LoadingCache needs a loader(const Key&) or loader(const Key&, LoadContext<Value>&) that returns a Value");
    if constexpr (is_loader) {
      state_.reset(new State{
          std::move(view), expires, std::make_unique<LoaderOf<Loader>>(std::move(loader)), std::move(executor), {}});
    }
  }

  // `failed`, if given, tells whether the cache has failed before in the same call, and is told if it does now.
  Value get(const Key& key, bool* failed) {
    auto load = [&](LoadContext<Value>& context) { return state_->loader->load(key, context); };
    const detail::KeyText text(state_->view.state_->prefix, key);
    detail::checked_size(text.text());
    const auto view = state_->view.state_->view();
    detail::LoadOne<Value, ValueCodec, decltype(load)> one(view, text.text(), state_->expires, load);
    if (failed != nullptr && *failed) return one.load_missing(0, true);
    bool wants_refresh = false;
    Value value = one.get(state_->executor ? &wants_refresh : nullptr);
    if (failed != nullptr) *failed = one.has_failed();
    if (wants_refresh) refresh_later(key);
    return value;
  }

  template <class Keys>
  void get_fresh(const Keys& keys, std::vector<Value>& values) {
    const auto view = state_->view.state_->view();
    const auto stored_before = detail::CacheHooks::loads(view.cache).stored();
    const auto hidden = detail::CacheHooks::hidden_failures(view.cache);
    std::vector<std::optional<Value>> found;
    bool failed = false;
    try {
      found = state_->view.get_many(keys);
    } catch (const InvalidArgument&) {
      throw;
    } catch (const Error& error) {
      failed = true;
      view.cache_failed("get_many", error);
    }
    failed = failed || detail::CacheHooks::hidden_failures(view.cache) != hidden;
    std::size_t place = 0;
    for (auto&& given : keys) {
      const std::size_t i = place++;
      if (i < found.size() && found[i]) {
        values.push_back(std::move(*found[i]));
        continue;
      }
      const auto& key = detail::key_of<Key>(given);
      auto load = [&](LoadContext<Value>& context) { return state_->loader->load(key, context); };
      const detail::KeyText text(state_->view.state_->prefix, key);
      detail::LoadOne<Value, ValueCodec, decltype(load)> one(view, text.text(), state_->expires, load);
      values.push_back(one.load_missing(stored_before, failed));
    }
  }

  void refresh_later(const Key& key) {
    const detail::KeyText text(state_->view.state_->prefix, key);
    const std::string name(text.text());
    if (!state_->background.get().add(name)) return;
    try {
      const auto task = std::make_shared<Task>(state_, key, name);
      state_->executor([task] { task->run(); });
    } catch (...) {  // as if it had not been asked for
      state_->background.get().drop(name);
      if (detail::thread_ends()) throw;
    }
  }

  std::shared_ptr<State> state_;
};

}  // namespace LARDER_ABI
}  // namespace larder
