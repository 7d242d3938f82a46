#include <larder/redis/detail/waiter.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>

#include "support/catch.hpp"

using namespace larder::redis::detail;
using namespace std::chrono_literals;

namespace {

// Two threads hand each other many waiters; a lost wake-up would last until the deadline.
template <class AnyWaiter>
void hand_over_and_back() {
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  constexpr std::size_t rounds = 5000;
  for (const bool by_done : {false, true}) {
    AnyWaiter mine[rounds];
    auto theirs = std::make_unique<AnyWaiter[]>(rounds);
    const auto signal = [&](AnyWaiter& waiter) {
      const auto address = waiter.address();
      by_done ? waiter.set_done() : waiter.notify();
      AnyWaiter::wake(address);
    };
    int late = 0;
    std::thread other([&] {
      for (std::size_t i = 0; i < rounds; ++i) {
        late += theirs[i].sleep_until(deadline) ? 0 : 1;
        signal(mine[i]);
      }
    });
    for (std::size_t i = 0; i < rounds; ++i) {
      signal(theirs[i]);
      CHECK(mine[i].sleep_until(deadline));
    }
    other.join();
    CHECK(late == 0);
    CHECK(std::chrono::steady_clock::now() < deadline);
  }
}

template <class AnyWaiter>
void says_what_it_was_told() {
  AnyWaiter waiter;
  const auto begin = std::chrono::steady_clock::now();
  CHECK_FALSE(waiter.sleep_until(begin - 1s));
  CHECK_FALSE(waiter.sleep_until(begin + 20ms));
  CHECK(std::chrono::steady_clock::now() >= begin + 20ms);
  CHECK_FALSE(waiter.clear());
  waiter.notify();
  CHECK(waiter.is_notified());
  CHECK(waiter.sleep_until(begin - 1s));
  CHECK(waiter.clear());
  CHECK_FALSE(waiter.is_notified());
  CHECK_FALSE(waiter.is_done());
  waiter.set_done();
  waiter.notify();
  CHECK(waiter.is_done());
  CHECK_FALSE(waiter.clear());
  CHECK(waiter.is_done());
  CHECK(waiter.sleep_until(begin - 1s));
}

}  // namespace

TEST_CASE("a waiter says whether it was notified, done being the last word") {
  says_what_it_was_told<Waiter>();
  says_what_it_was_told<PortableWaiter>();
}

TEST_CASE("a waiter that is notified or done wakes") {
  hand_over_and_back<Waiter>();
  hand_over_and_back<PortableWaiter>();
}
