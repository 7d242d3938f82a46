// MemoryCache against the map behind a lock that a program would otherwise write for itself, in one process and in
// turns. Prints medians over repeats with their spread. The argument is the number of repeats; 9 if there is none.

#include <larder/memory_cache.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

struct Key {  // of 16 bytes
  explicit Key(std::uint64_t number) {
    std::memcpy(text.data(), &number, sizeof number);
    number = ~number;
    std::memcpy(text.data() + sizeof number, &number, sizeof number);
  }
  operator std::string_view() const { return {text.data(), text.size()}; }

  std::array<char, 16> text;
};

template <class Mutex, class ReadLock>
class LockedMap {
 public:
  std::optional<std::string> get(std::string_view key) {
    const std::string owned(key);
    const ReadLock hold(mutex_);
    const auto found = map_.find(owned);
    return found == map_.end() ? std::nullopt : std::optional<std::string>(found->second);
  }
  void set(std::string_view key, std::string_view value) {
    const std::lock_guard<Mutex> hold(mutex_);
    map_[std::string(key)] = value;
  }

 private:
  Mutex mutex_;
  std::unordered_map<std::string, std::string> map_;
};
class ExpiringCache {
 public:
  explicit ExpiringCache(larder::MemoryCache::Options options) : cache_(options) {}
  std::optional<std::string> get(std::string_view key) { return cache_.get(key); }
  void set(std::string_view key, std::string_view value) { cache_.set(key, value, std::chrono::hours(1)); }

 private:
  larder::MemoryCache cache_;
};
using MutexMap = LockedMap<std::mutex, std::lock_guard<std::mutex>>;
using SharedMutexMap = LockedMap<std::shared_mutex, std::shared_lock<std::shared_mutex>>;

struct Samples {
  std::vector<double> values;

  double median() {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }
  void print(const char* unit) {
    const double middle = median();
    std::printf("%9.2f%s (%.2f to %.2f)", middle, unit, values.front(), values.back());
  }
};

double thread_cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Rate {  // calls a second, of all threads together
  double by_clock, by_cpu_time;
};

// What else runs here changes the rate by CPU time less; but it leaves out the time asleep on a lock, and two threads
// that take turns on one core are not in each other's way. On an idle machine the two agree.
template <class Call>
Rate rate(int threads, const Call& call) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false}, stop{false};
  std::atomic<double> all{0}, by_cpu_time{0};
  const auto add = [](std::atomic<double>& sum, double mine) {
    for (double old = sum; !sum.compare_exchange_weak(old, old + mine);) continue;
  };
  const auto work = [&](std::uint64_t random) {
    ++ready;
    while (!go) std::this_thread::yield();
    const double start = thread_cpu_seconds();
    double calls = 0;
    for (; !stop.load(std::memory_order_relaxed); calls += 64) {
      for (int i = 0; i < 64; ++i) call((random = random * 6364136223846793005U + 1442695040888963407U) >> 32);
    }
    add(by_cpu_time, calls / (thread_cpu_seconds() - start));
    add(all, calls);
  };
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) running.emplace_back(work, i);
  while (ready < threads) std::this_thread::yield();
  const auto start = std::chrono::steady_clock::now();
  go = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  stop = true;
  for (auto& thread : running) thread.join();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  return {all / passed.count(), by_cpu_time};
}

template <class Call>
double nanoseconds(const Call& call) {
  return 1e9 / rate(1, call).by_cpu_time;
}

struct Figures {
  Samples hit, miss, set, scaling_by_clock, scaling_by_cpu_time;
};

template <class Cache>
void measure(Cache& cache, std::uint64_t entries, Figures& figures) {
  const std::string value(100, 'v');
  const auto hit = [&](std::uint64_t random) {
    const auto found = cache.get(Key((random * entries) >> 32));
    if (!found || found->size() != value.size()) std::abort();
  };
  const Rate one = rate(1, hit), two = rate(2, hit);
  figures.hit.values.push_back(1e9 / one.by_cpu_time);
  figures.scaling_by_clock.values.push_back(two.by_clock / one.by_clock);
  figures.scaling_by_cpu_time.values.push_back(two.by_cpu_time / one.by_cpu_time);
  figures.miss.values.push_back(nanoseconds([&](std::uint64_t random) {
    if (cache.get(Key(entries + random))) std::abort();
  }));
  figures.set.values.push_back(
      nanoseconds([&](std::uint64_t random) { cache.set(Key((random * entries) >> 32), value); }));
}

void print(const char* what, Samples& larder, Samples& mutex, Samples& shared, const char* unit) {
  std::printf("%-24s", what);
  larder.print(unit);
  std::printf(" | ");
  mutex.print(unit);
  std::printf(" | ");
  shared.print(unit);
  std::printf(" | %5.2f  %5.2f\n", larder.median() / mutex.median(), larder.median() / shared.median());
}

}  // namespace

int main(int argc, char** argv) {
  const int repeats = argc > 1 ? std::atoi(argv[1]) : 9;
  const std::string value(100, 'v');
  for (const std::uint64_t entries : {1000U, 10000U, 1000000U}) {
    larder::MemoryCache::Options options;
    options.max_bytes = std::size_t{512} << 20;
    larder::MemoryCache cache(options);
    ExpiringCache expiring(options);
    MutexMap mutex_map;
    SharedMutexMap shared_mutex_map;
    // One after the other, so that what each keeps lies together as it would alone.
    for (std::uint64_t i = 0; i < entries; ++i) cache.set(Key(i), value);
    for (std::uint64_t i = 0; i < entries; ++i) expiring.set(Key(i), value);
    for (std::uint64_t i = 0; i < entries; ++i) mutex_map.set(Key(i), value);
    for (std::uint64_t i = 0; i < entries; ++i) shared_mutex_map.set(Key(i), value);
    Figures of_cache, of_expiring, of_mutex_map, of_shared_mutex_map;
    for (int i = 0; i < repeats; ++i) {
      measure(cache, entries, of_cache);
      measure(mutex_map, entries, of_mutex_map);
      measure(shared_mutex_map, entries, of_shared_mutex_map);
      measure(expiring, entries, of_expiring);
    }
    std::printf("%llu entries of 16 + 100 bytes: MemoryCache | map and mutex | map and shared_mutex | ratio to each\n",
                static_cast<unsigned long long>(entries));
    print("hit", of_cache.hit, of_mutex_map.hit, of_shared_mutex_map.hit, " ns");
    print("hit, entries expire", of_expiring.hit, of_mutex_map.hit, of_shared_mutex_map.hit, " ns");
    print("miss", of_cache.miss, of_mutex_map.miss, of_shared_mutex_map.miss, " ns");
    print("set", of_cache.set, of_mutex_map.set, of_shared_mutex_map.set, " ns");
    print("2 threads : 1, clock", of_cache.scaling_by_clock, of_mutex_map.scaling_by_clock,
          of_shared_mutex_map.scaling_by_clock, "");
    print("2 threads : 1, CPU time", of_cache.scaling_by_cpu_time, of_mutex_map.scaling_by_cpu_time,
          of_shared_mutex_map.scaling_by_cpu_time, "");
  }
}
