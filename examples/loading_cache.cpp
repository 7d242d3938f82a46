// A cache with a loader for life: values are refreshed in the background, and kept while their source is away.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <iostream>
#include <larder/larder.hpp>
#include <mutex>
#include <queue>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

// One thread that runs tasks; a pool of any library will do.
class Worker {
 public:
  ~Worker() {
    post({});  // the end
    thread_.join();
  }
  void post(std::function<void()> task) {
    const std::lock_guard<std::mutex> hold(mutex_);
    tasks_.push(std::move(task));
    added_.notify_one();
  }

 private:
  void run() {
    for (std::function<void()> task;;) {
      {
        std::unique_lock<std::mutex> hold(mutex_);
        added_.wait(hold, [this] { return !tasks_.empty(); });
        task = std::move(tasks_.front());
        tasks_.pop();
      }
      if (!task) return;
      task();
    }
  }
  std::mutex mutex_;
  std::condition_variable added_;
  std::queue<std::function<void()>> tasks_;
  std::thread thread_{[this] { run(); }};
};

int main() try {
  std::atomic<int> rate{100};
  std::atomic<bool> bank_is_closed{false};
  const auto ask_bank = [&](const std::string&) -> int {
    if (bank_is_closed) throw std::runtime_error("the bank is closed");
    return rate;
  };
  Worker worker;
  larder::MemoryCache memory;
  larder::LoadOptions options;
  options.keep_stale = 1h;
  larder::LoadingCache<std::string, int> rates(
      memory, "rate:", 50ms, ask_bank, [&](auto task) { worker.post(std::move(task)); }, options);

  std::cout << "first: " << rates.get("EUR") << '\n';  // loaded here
  rate = 101;
  while (rates.get("EUR") != 101) std::this_thread::sleep_for(10ms);  // never waits: refreshed in the background
  std::cout << "refreshed: " << rates.get("EUR") << '\n';
  bank_is_closed = true;
  while (rates.stats().failures == 0) rates.get("EUR");
  std::cout << "while the bank is closed: " << rates.get("EUR") << '\n';
  return rates.get("EUR") == 101 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "loading_cache: " << error.what() << '\n';
  return 1;
}
