#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <larder/base_cache.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "sockets.hpp"
#include "testing.hpp"

namespace larder::testing {

/// Threads that set and get keys of their own, one by one and in batches, and know which versions a key can have: the
/// last that was set, and those whose set failed since. Every value names its key and version.
class VersionedLoad {
 public:
  static constexpr std::size_t keys = 40;  // of each thread

  struct Seen {
    std::size_t calls = 0, errors = 0;
    std::size_t wrong = 0;  // the value of another key, or a version that was never set
    std::size_t stale = 0;  // a version before the last that was set
    std::size_t lost = 0;   // no value where one was set
    Clock::duration longest{};
    Clock::time_point last_error{};
    Clock::time_point first_success_after_error{};
    std::string error, first_wrong;

    std::string text() const {
      return "calls " + std::to_string(calls) + ", errors " + std::to_string(errors) + ", wrong " +
             std::to_string(wrong) + ", stale " + std::to_string(stale) + ", lost " + std::to_string(lost) +
             ", longest " + std::to_string(std::chrono::duration_cast<microseconds>(longest).count()) +
             " us; last error: " + error + "; wrong: " + first_wrong;
    }
  };

  VersionedLoad(larder::BaseCache& cache, std::size_t threads) : cache_(cache), turns_(threads) {
    for (std::size_t thread = 0; thread < threads; ++thread) {
      threads_.emplace_back([this, thread] { Worker(*this, thread).work(); });
    }
    await_turns(keys);
  }
  ~VersionedLoad() { stop(); }

  static std::string key(std::size_t thread, std::size_t number) {
    return std::to_string(thread) + "-" + std::to_string(number % keys);
  }

  /// Until each thread has done `turns` more turns.
  void await_turns(std::size_t turns) {
    std::vector<std::size_t> targets;
    for (const auto& done : turns_) targets.push_back(done + turns);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      eventually([&] { return turns_[i] >= targets[i]; });
    }
  }

  /// Until a call succeeds after the last error; false if none does.
  bool await_success() {
    return eventually([&] {
      const std::lock_guard lock(mutex_);
      return seen_.first_success_after_error != Clock::time_point();
    });
  }

  /// What was seen since the last time.
  Seen take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(seen_, {});
  }
  Seen finish() {
    stop();
    return take();
  }

 private:
  class Worker {
   public:
    Worker(VersionedLoad& load, std::size_t thread) : load_(load), thread_(thread), states_(keys) {}

    void work() {
      for (std::size_t turn = 0; !load_.stopped_; ++turn) {
        switch (turn % 8) {
          case 0:
          case 4:
            set(turn / 4 % keys);
            break;
          case 2:
            get_many();
            break;
          case 6:
            if (turn % 5 == 0) set_many();
            break;
          default:
            get(turn * 7 % keys);
        }
        ++load_.turns_[thread_];
      }
    }

   private:
    struct State {
      std::size_t set = 0;      // the last version of which it is known that it was stored
      std::size_t highest = 0;  // the last that was tried
    };

    std::string name(std::size_t number) const { return VersionedLoad::key(thread_, number); }
    std::string value(std::size_t number, std::size_t version) const {
      return name(number) + " is at version " + std::to_string(version);
    }

    template <class Body>
    bool call(Body body) {
      const auto begin = Clock::now();
      std::string error;
      try {
        body();
      } catch (const std::exception& thrown) {
        error = thrown.what();
      }
      const auto end = Clock::now();
      const std::lock_guard lock(load_.mutex_);
      Seen& seen = load_.seen_;
      ++seen.calls;
      seen.longest = std::max(seen.longest, end - begin);
      if (!error.empty()) {
        ++seen.errors;
        seen.error = error;
        seen.last_error = end;
        seen.first_success_after_error = {};
      } else if (seen.first_success_after_error == Clock::time_point()) {
        seen.first_success_after_error = end;
      }
      return error.empty();
    }

    void set(std::size_t number) {
      State& state = states_[number];
      const std::size_t version = ++state.highest;
      if (call([&] { load_.cache_.set(name(number), value(number, version)); })) state.set = version;
    }

    void set_many() {
      std::vector<std::pair<std::string, std::string>> items;
      for (std::size_t number = 0; number < keys; ++number) {
        items.emplace_back(name(number), value(number, ++states_[number].highest));
      }
      if (!call([&] { load_.cache_.set_many(items); })) return;
      for (State& state : states_) state.set = state.highest;
    }

    void get(std::size_t number) {
      std::optional<std::string> found;
      if (call([&] { found = load_.cache_.get(name(number)); })) look_at(number, found);
    }

    void get_many() {
      std::vector<std::string> names;
      for (std::size_t number = 0; number < keys; ++number) names.push_back(name(number));
      std::vector<std::optional<std::string>> found;
      if (!call([&] { found = load_.cache_.get_many(names); })) return;
      for (std::size_t number = 0; number < keys; ++number) look_at(number, found.at(number));
    }

    void look_at(std::size_t number, const std::optional<std::string>& found) {
      const State& state = states_[number];
      std::size_t version = 0;  // nothing is version 0
      bool is_ours = true;
      if (found) {
        const std::string begin = value(number, 0);
        version = std::strtoul(found->c_str() + std::min(begin.size() - 1, found->size()), nullptr, 10);
        is_ours = *found == value(number, version) && version <= state.highest;
      }
      if (is_ours && version >= state.set) return;
      const std::lock_guard lock(load_.mutex_);
      ++(!is_ours ? load_.seen_.wrong : found ? load_.seen_.stale : load_.seen_.lost);
      if (load_.seen_.first_wrong.empty()) {
        load_.seen_.first_wrong = name(number) + " at " + std::to_string(state.set) + " to " +
                                  std::to_string(state.highest) + ": " + found.value_or("nothing");
      }
    }

    VersionedLoad& load_;
    const std::size_t thread_;
    std::vector<State> states_;
  };

  void stop() {
    stopped_ = true;
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

  larder::BaseCache& cache_;
  std::atomic<bool> stopped_{false};
  std::vector<std::atomic<std::size_t>> turns_;
  std::mutex mutex_;
  Seen seen_;
  std::vector<std::thread> threads_;
};

}  // namespace larder::testing
