#include <larder/redis/detail/adaptive_spin.hpp>

#include <cstdint>

#include "support/catch.hpp"

using larder::redis::detail::AdaptiveSpin;
using larder::redis::detail::YieldGauge;

namespace {

constexpr std::int64_t us = 1000, ms = 1000 * us;

bool is_calm(YieldGauge& gauge, std::int64_t now) {
  return gauge.is_calm([&] { return now; });
}

}  // namespace

TEST_CASE("spinning is tried less and less while it does not succeed, and always after it did") {
  AdaptiveSpin spin;
  const auto tries_of = [&](int calls) {
    int tries = 0;
    for (int i = 0; i < calls; ++i) {
      if (!spin.should_try()) continue;
      ++tries;
      spin.record(false);
    }
    return tries;
  };
  CHECK(tries_of(8) == 8);
  CHECK(tries_of(100'000) < 150);
  while (!spin.should_try()) {
  }
  spin.record(true);
  CHECK(tries_of(8) == 8);
}

TEST_CASE("the gauge: what ends the calm, and for how long") {
  YieldGauge gauge;
  std::int64_t now = 10'000 * ms;

  SECTION("short yields never do") {
    for (int i = 0; i < 10'000; ++i) CHECK(gauge.took(us * (i % 20), 0, 4, now += 20 * us));
  }
  SECTION("nor do those that take as long as the calls finished meanwhile") {
    for (int i = 0; i < 10'000; ++i) CHECK(gauge.took(300 * us, 60, 64, now += 300 * us));
  }
  SECTION("many that are not quite so long do, when they have taken 2 ms more than sleeps would have") {
    int yields = 1;
    while (gauge.took(120 * us, 0, 4, now += 130 * us)) ++yields;
    CHECK((yields > 20 && yields < 50));
    CHECK_FALSE(is_calm(gauge, now + 19 * ms));
    CHECK(is_calm(gauge, now += 21 * ms));
    while (gauge.took(120 * us, 0, 4, now += 130 * us)) {
    }
    CHECK_FALSE(is_calm(gauge, now + 39 * ms));
    CHECK(is_calm(gauge, now + 41 * ms));
  }
  SECTION("not if most are short") {
    for (int i = 0; i < 10'000; ++i) CHECK(gauge.took(i % 32 == 0 ? 120 * us : us, 0, 4, now += 20 * us));
  }
  SECTION("nor long ones while the callers' own calls are finished") {
    for (int i = 0; i < 1000; ++i) CHECK(gauge.took(5 * ms, 8, 4, now += 6 * ms));
  }
  SECTION("nor does a single long one") {
    CHECK(gauge.took(4 * ms, 0, 4, now));
    CHECK(gauge.took(4 * ms, 0, 4, now + 50 * ms));  // 46 ms after the first: long ago
  }
  SECTION("nor the same event, seen by two threads") {
    CHECK(gauge.took(4 * ms, 0, 4, now));
    CHECK(gauge.took(4 * ms, 0, 4, now + 1 * ms));
  }
  SECTION("two in a row do, for ten times as long as they took") {
    CHECK(gauge.took(4 * ms, 0, 4, now));
    CHECK_FALSE(gauge.took(4 * ms, 7, 4, now + 5 * ms));
    CHECK_FALSE(is_calm(gauge, now + 5 * ms));
    CHECK_FALSE(is_calm(gauge, now + 44 * ms));
    CHECK(is_calm(gauge, now + 45 * ms));
    CHECK(is_calm(gauge, now + 45 * ms));
  }
  SECTION("one is enough where the calm had hardly begun, for twice as long as the last time, and 1 s at most") {
    gauge.took(4 * ms, 0, 4, now);
    gauge.took(4 * ms, 0, 4, now += 5 * ms);
    for (const std::int64_t pause : {40, 80, 160, 320, 640, 1000, 1000}) {
      CHECK_FALSE(is_calm(gauge, now + pause * ms - 1));
      CHECK(is_calm(gauge, now += pause * ms));
      CHECK_FALSE(gauge.took(4 * ms, 0, 4, now += 5 * ms));
    }
    CHECK(is_calm(gauge, now += 1000 * ms));
    CHECK(gauge.took(4 * ms, 0, 4, now + 2000 * ms));  // a calm as long as the last pause is forgotten by then
  }
}
