#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace benchmarks {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

/// What one repeat of a measurement gave.
struct Sample {
  double calls_per_second = 0;
  double cpu_microseconds = 0;  // of the process that calls, user and system, for a call
  double sleeps = 0;            // voluntary context switches, for a call
};

/// How long calls took, to 3 %.
class Latencies {
 public:
  void add(Clock::duration time) noexcept {
    const auto nanoseconds = static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count());
    ++counts_[slot_of(nanoseconds)];
  }
  void add(const Latencies& other) noexcept {
    for (std::size_t i = 0; i < slots; ++i) counts_[i] += other.counts_[i];
  }
  std::size_t total() const noexcept {
    std::size_t sum = 0;
    for (const auto count : counts_) sum += count;
    return sum;
  }
  /// In microseconds; 0 if there is none.
  double percentile(double share) const noexcept {
    const auto rank = share * static_cast<double>(total());
    double seen = 0;
    for (std::size_t i = 0; i < slots; ++i) {
      seen += static_cast<double>(counts_[i]);
      if (seen > rank) return middle_of(i) / 1000;
    }
    return 0;
  }

 private:
  static constexpr unsigned bits = 5;  // of precision
  static constexpr std::uint64_t steps = 1U << bits;
  static constexpr std::size_t slots = 40 * steps;  // an octave has `steps` of them

  static std::size_t slot_of(std::uint64_t nanoseconds) noexcept {
    unsigned octave = 0;
    while (nanoseconds >= 2 * steps) {
      nanoseconds >>= 1;
      ++octave;
    }
    return std::min<std::size_t>(octave * steps + nanoseconds, slots - 1);
  }
  static double middle_of(std::size_t slot) noexcept {
    if (slot < 2 * steps) return static_cast<double>(slot);
    const std::size_t octave = slot / steps - 1;
    return (static_cast<double>(slot - octave * steps) + 0.5) * static_cast<double>(std::uint64_t{1} << octave);
  }

  std::array<std::size_t, slots> counts_{};
};

/// One who is measured: `run` is one repeat.
struct Contestant {
  std::string name;
  std::function<Sample(Latencies&)> run;
};

struct Result {
  std::string name;
  std::vector<Sample> samples;
  Latencies latencies;
};

struct Spread {
  double median = 0, least = 0, most = 0;
};

inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const double median = values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, values.front(), values.back()};
}

inline Spread spread_of(const Result& result, double Sample::*figure) {
  std::vector<double> values;
  for (const Sample& sample : result.samples) values.push_back(sample.*figure);
  return spread_of(std::move(values));
}

/// Of a figure of two contestants, repeat by repeat.
inline Spread ratio_of(const Result& one, const Result& other, double Sample::*figure) {
  std::vector<double> values;
  const std::size_t repeats = std::min(one.samples.size(), other.samples.size());
  for (std::size_t i = 0; i < repeats; ++i) values.push_back(one.samples[i].*figure / (other.samples[i].*figure));
  return spread_of(std::move(values));
}

/// What a process and its threads have used so far.
struct Usage {
  explicit Usage(int who = RUSAGE_SELF) {
    rusage usage{};
    ::getrusage(who, &usage);
    const auto microseconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
    };
    cpu_microseconds = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
    sleeps = static_cast<double>(usage.ru_nvcsw);
  }

  /// From `start` until now.
  Sample sample(const Usage& start, double calls, Seconds time) const {
    return {calls / time.count(), (cpu_microseconds - start.cpu_microseconds) / calls, (sleeps - start.sleeps) / calls};
  }

  double cpu_microseconds, sleeps;
};

/// A call, given a number that is different each time.
using Call = std::function<void(std::size_t)>;

/// Makes what one thread calls.
using Session = std::function<Call()>;

/// Calls in a loop on `threads` threads at once, for `time` after all of them have begun and warmed up.
inline Sample measure(const Session& session, unsigned threads, Seconds time, Latencies& latencies) {
  enum class Phase { warm_up, counting, over };
  struct Tally {
    std::size_t calls = 0;
    Latencies latencies;
  };
  std::atomic<Phase> phase{Phase::warm_up};
  std::atomic<unsigned> ready{0};
  std::vector<Tally> tallies(threads);

  const auto work = [&](unsigned thread) {
    const Call call = session();
    Tally tally;
    std::size_t number = thread * std::size_t{1009};
    call(number++);
    ++ready;
    for (auto start = Clock::now();;) {
      const Phase began = phase.load(std::memory_order_relaxed);
      if (began == Phase::over) break;
      call(number++);
      const auto end = Clock::now();
      if (began == Phase::counting) {
        ++tally.calls;
        tally.latencies.add(end - start);
      }
      start = end;
    }
    tallies[thread] = tally;
  };
  std::vector<std::thread> running;
  for (unsigned thread = 0; thread < threads; ++thread) running.emplace_back(work, thread);
  while (ready != threads) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(time / 4);

  const Usage usage_before;
  const auto start = Clock::now();
  phase = Phase::counting;
  std::this_thread::sleep_for(time);
  phase = Phase::over;
  const Seconds took = Clock::now() - start;
  const Usage usage_after;
  for (auto& thread : running) thread.join();

  std::size_t calls = 0;
  for (const Tally& tally : tallies) {
    calls += tally.calls;
    latencies.add(tally.latencies);
  }
  return usage_after.sample(usage_before, static_cast<double>(calls), took);
}

}  // namespace benchmarks
