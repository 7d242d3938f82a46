#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <larder/error.hpp>
#include <larder/redis/pool.hpp>
#include <larder/redis_cache.hpp>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "probe.hpp"
#include "proxy.hpp"
#include "redis_process.hpp"
#include "sanitizers.hpp"
#include "scripted_server.hpp"
#include "testing.hpp"

namespace larder::testing {

/// How much later than its budget a single call may end for want of a processor. See Lateness for what most calls keep.
constexpr milliseconds slack = sanitized ? 3000ms : 1000ms;

inline std::string key(std::size_t number) { return "key:" + std::to_string(number); }

/// Stores key(0), key(1) and so on, each with its value.
inline void fill(const RedisProcess& server, std::size_t count, const std::string& prefix = {}) {
  const Context context = connect(server.address());
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = prefix + key(i), value = value_of(name);
    redisAppendCommand(context.get(), "SET %b %b", name.data(), name.size(), value.data(), value.size());
  }
  for (std::size_t i = 0; i < count; ++i) {
    void* reply = nullptr;
    if (redisGetReply(context.get(), &reply) != REDIS_OK) throw std::runtime_error(context->errstr);
    freeReplyObject(reply);
  }
}

inline std::shared_ptr<redis::Pool> make_pool(const redis::Options& options) {
  return std::make_shared<redis::Pool>(options);
}

/// The longest that a call may take that has to connect.
inline milliseconds whole_budget(const redis::Options& options) {
  return options.connect_timeout + options.command_timeout;
}

/// What all tests of a program have seen; told at its end.
struct Figures {
  std::atomic<std::size_t> calls{0}, errors{0}, faults{0}, wrong{0};
  std::mutex mutex;
  Clock::duration latest_took{};
  milliseconds latest_budget = 24h;

  void took(Clock::duration time, milliseconds budget) {
    const std::lock_guard lock(mutex);
    if (time - budget > latest_took - latest_budget) {
      latest_took = time;
      latest_budget = budget;
    }
  }
  ~Figures() {
    std::printf("calls %zu, errors %zu, faults injected %zu, wrong values %zu; the latest call: %.1f ms of %lld ms\n",
                calls.load(), errors.load(), faults.load(), wrong.load(),
                std::chrono::duration<double, std::milli>(latest_took).count(),
                static_cast<long long>(latest_budget.count()));
  }
};

inline Figures& figures() {
  static Figures all;
  return all;
}

/// Makes a call and checks that it ended, with a result or an exception, within its time.
template <class Call>
auto within(milliseconds budget, Call call) {
  struct Timer {
    milliseconds budget;
    Clock::time_point begin = Clock::now();
    ~Timer() {
      const auto time = Clock::now() - begin;
      figures().took(time, budget);
      ++figures().calls;
      CHECK(time <= budget + slack);
    }
  } const timer{budget};
  return call();
}

/// Makes a call that must fail with exactly this kind of error, within its time; returns the message.
template <class Error, class Call>
std::string failure_within(milliseconds budget, Call call) {
  try {
    within(budget, call);
  } catch (const Error& error) {
    ++figures().errors;
    INFO(error.what());
    CHECK(typeid(error) == typeid(Error));
    return error.what();
  }
  FAIL("the call did not fail");
  return {};
}

/// How much later than their budgets calls end that use them up, compared with how late this machine wakes a thread
/// that only sleeps. May be used by several threads.
class Lateness {
 public:
  /// Makes a call that must fail with this kind of error when its budget is over, and not before.
  template <class Error, class Call>
  void measure(milliseconds budget, Call call) {
    const auto begin = Clock::now();
    failure_within<Error>(budget, call);
    const auto time = Clock::now() - begin;
    CHECK(time >= budget - 2ms);
    note(time - budget);
  }

  void note(Clock::duration late) {
    const auto begin = Clock::now();
    std::this_thread::sleep_for(1ms);
    const auto sleeper_late = Clock::now() - begin - 1ms;
    const std::lock_guard lock(mutex_);
    late_.push_back(late);
    sleeper_late_.push_back(sleeper_late);
  }

  /// Half of the calls, at least, ended in time but for a few milliseconds.
  void check() const {
    const auto median = median_of(late_), sleepers = median_of(sleeper_late_);
    INFO("late by " << text(median) << " (median of " << late_.size() << "), a sleeping thread by " << text(sleepers));
    CHECK(median <= (sanitized ? 50ms : 5ms) + 4 * sleepers);
  }

 private:
  static Clock::duration median_of(std::vector<Clock::duration> times) {
    REQUIRE(!times.empty());
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    return times[times.size() / 2];
  }
  static std::string text(Clock::duration time) {
    return std::to_string(std::chrono::duration_cast<microseconds>(time).count()) + " us";
  }

  std::mutex mutex_;
  std::vector<Clock::duration> late_, sleeper_late_;
};

/// What one thread saw of its calls: Catch's checks are not for threads.
struct Tally {
  std::size_t calls = 0, hits = 0, misses = 0, wrong = 0, late = 0, strange = 0;
  std::size_t timeouts = 0, lost = 0, garbled = 0, refused = 0, no_memory = 0;
  Clock::duration longest{}, latest_took{}, in_errors{};
  milliseconds latest_budget = 24h;
  std::string last_error, first_wrong;

  std::size_t errors() const { return timeouts + lost + garbled + refused; }

  /// Makes a call; true if it did not throw.
  template <class Call>
  bool call(milliseconds budget, Call body) {
    const auto begin = Clock::now();
    bool good = false;
    try {
      body();
      good = true;
    } catch (const TimeoutError& error) {
      count(timeouts, error);
    } catch (const ProtocolError& error) {
      count(garbled, error);
    } catch (const ConnectionError& error) {
      count(lost, error);
    } catch (const ServerError& error) {
      count(refused, error);
    } catch (const std::bad_alloc& error) {
      count(no_memory, error);
    } catch (const std::exception& error) {
      count(strange, error);
    }
    const auto time = Clock::now() - begin;
    ++calls;
    if (time - budget > latest_took - latest_budget) {
      latest_took = time;
      latest_budget = budget;
    }
    longest = std::max(longest, time);
    if (!good) in_errors += time;
    if (time > budget + slack) ++late;
    return good;
  }

  /// Gets a key and looks at the value; true if it was a hit.
  bool get(BaseCache& cache, const std::string& key, milliseconds budget, std::size_t size = 100) {
    std::optional<std::string> value;
    if (!call(budget, [&] { value = cache.get(key); })) return false;
    look_at(key, value, size);
    return value.has_value();
  }

  void look_at(const std::string& key, const std::optional<std::string>& value, std::size_t size = 100) {
    if (!value) {
      ++misses;
    } else if (*value == value_of(key, size)) {
      ++hits;
    } else {
      if (wrong++ == 0) first_wrong = key + ": " + value->substr(0, 100);
    }
  }

  Tally& operator+=(const Tally& other) {
    if (other.latest_took - other.latest_budget > latest_took - latest_budget) {
      latest_took = other.latest_took;
      latest_budget = other.latest_budget;
    }
    calls += other.calls;
    hits += other.hits;
    misses += other.misses;
    wrong += other.wrong;
    late += other.late;
    strange += other.strange;
    timeouts += other.timeouts;
    lost += other.lost;
    garbled += other.garbled;
    refused += other.refused;
    no_memory += other.no_memory;
    longest = std::max(longest, other.longest);
    in_errors += other.in_errors;
    if (!other.last_error.empty()) last_error = other.last_error;
    if (!other.first_wrong.empty()) first_wrong = other.first_wrong;
    return *this;
  }

 private:
  void count(std::size_t& kind, const std::exception& error) {
    ++kind;
    last_error = error.what();
  }
};

/// Checks what must hold of all calls, whatever happened to them.
inline void check(const Tally& tally) {
  figures().calls += tally.calls;
  figures().errors += tally.errors();
  figures().wrong += tally.wrong;
  figures().took(tally.latest_took, tally.latest_budget);
  INFO("calls " << tally.calls << ", hits " << tally.hits << ", misses " << tally.misses << ", timeouts "
                << tally.timeouts << ", lost " << tally.lost << ", garbled " << tally.garbled << ", refused "
                << tally.refused << "; last error: " << tally.last_error << "; wrong: " << tally.first_wrong);
  CHECK(tally.wrong == 0);
  CHECK(tally.strange == 0);
  CHECK(tally.late == 0);
}

/// Threads that do body(tally, thread, turn) again and again until finish(), or a number of turns each.
class Load {
 public:
  template <class Body>
  Load(std::size_t threads, Body body, std::size_t turns = SIZE_MAX) : tallies_(threads), done_(threads) {
    for (std::size_t thread = 0; thread < threads; ++thread) {
      threads_.emplace_back([this, body, thread, turns] {
        Tally tally;
        for (std::size_t turn = 0; turn < turns && !finished_; ++turn) {
          body(tally, thread, turn);
          ++done_[thread];
        }
        tallies_[thread] = std::move(tally);
      });
    }
  }
  ~Load() { stop(); }

  Tally finish() {
    stop();
    return sum();
  }
  /// Waits until each thread has done `turns` more turns.
  void await_turns(std::size_t turns) {
    const std::vector<std::size_t> before(done_.begin(), done_.end());
    for (std::size_t thread = 0; thread < done_.size(); ++thread) {
      if (!eventually([&] { return done_[thread] >= before[thread] + turns; }))
        throw std::runtime_error("a call hangs");
    }
  }
  /// Waits until all turns are done.
  Tally join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    return sum();
  }

 private:
  void stop() {
    finished_ = true;
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  Tally sum() const {
    Tally all;
    for (const auto& tally : tallies_) all += tally;
    return all;
  }

  std::atomic<bool> finished_{false};
  std::vector<Tally> tallies_;
  std::vector<std::atomic<std::size_t>> done_;  // turns of each thread
  std::vector<std::thread> threads_;
};

}  // namespace larder::testing
