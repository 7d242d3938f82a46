#include <larder/expiry.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <ratio>
#include <string>
#include <type_traits>

#include "support/catch.hpp"

using larder::Expiry;
using namespace std::chrono_literals;
using std::chrono::duration;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::system_clock;
using Left = std::optional<milliseconds>;

namespace {

// What may be written where an expiry is wanted, and what may not.
template <class T>
constexpr bool converts = std::is_convertible_v<T, Expiry>&& std::is_constructible_v<Expiry, T>;
template <class T>
constexpr bool refused = !std::is_convertible_v<T, Expiry> && !std::is_constructible_v<Expiry, T>;

enum Unscoped { unscoped };
enum class Scoped { scoped };

static_assert(converts<std::nullopt_t>);
static_assert(converts<signed char> && converts<unsigned char> && converts<std::uint8_t> && converts<std::int8_t>);
static_assert(converts<short> && converts<unsigned short> && converts<int> && converts<unsigned>);
static_assert(converts<long> && converts<unsigned long> && converts<long long> && converts<unsigned long long>);
static_assert(converts<std::chrono::nanoseconds> && converts<hours> && converts<duration<double>>);
static_assert(converts<duration<float, std::ratio<1, 3>>> && converts<duration<int, std::ratio<86400>>>);
static_assert(converts<system_clock::time_point> && converts<std::chrono::time_point<system_clock, hours>>);
static_assert(converts<std::chrono::time_point<system_clock, duration<double>>>);
static_assert(converts<std::optional<milliseconds>> && converts<std::optional<duration<double>>>);
static_assert(converts<std::optional<system_clock::time_point>> && converts<const std::optional<hours>&>);
static_assert(converts<std::optional<std::chrono::time_point<system_clock, hours>>>);

static_assert(refused<bool> && refused<const bool&> && refused<double> && refused<float> && refused<long double>);
static_assert(refused<std::chrono::steady_clock::time_point> && refused<std::nullptr_t> && refused<void*>);
static_assert(refused<const char*> && refused<std::string> && refused<Unscoped> && refused<Scoped>);
static_assert(refused<char> && refused<const char&> && refused<wchar_t> && refused<char16_t> && refused<char32_t>);
#ifdef __cpp_char8_t
static_assert(refused<char8_t>);
#endif
static_assert(refused<std::optional<std::chrono::steady_clock::time_point>> && refused<std::optional<bool>>);
static_assert(refused<std::optional<int>> && refused<std::unique_ptr<int>>);

static_assert(std::is_nothrow_default_constructible_v<Expiry> &&
              std::is_nothrow_constructible_v<Expiry, std::nullopt_t>);
static_assert(std::is_nothrow_constructible_v<Expiry, int> && std::is_nothrow_constructible_v<Expiry, hours>);
static_assert(std::is_nothrow_constructible_v<Expiry, system_clock::time_point>);
static_assert(std::is_trivially_copyable_v<Expiry> && std::is_trivially_destructible_v<Expiry>);
static_assert(noexcept(Expiry().time_left()));

Left left(Expiry expiry) { return expiry.time_left(); }

constexpr Left none = milliseconds::zero();

template <class T>
constexpr T lowest = std::numeric_limits<T>::lowest();
template <class T>
constexpr T highest = (std::numeric_limits<T>::max)();

}  // namespace

TEST_CASE("nothing, nullopt and {} never expire") {
  CHECK(left({}) == std::nullopt);
  CHECK(left(std::nullopt) == std::nullopt);
  CHECK(Expiry().time_left() == std::nullopt);
}

TEST_CASE("an optional duration or time point expires if there is one") {
  CHECK(left(std::optional<milliseconds>()) == std::nullopt);
  CHECK(left(std::optional<milliseconds>(20ms)) == 20ms);
  CHECK(left(std::optional<std::chrono::nanoseconds>(1ns)) == 1ms);
  CHECK(left(std::optional<hours>(-1h)) == none);
  CHECK(left(std::optional<system_clock::time_point>()) == std::nullopt);
  CHECK(left(std::optional<system_clock::time_point>(system_clock::now())) == none);
  const auto hour = left(std::optional<system_clock::time_point>(system_clock::now() + 1h));
  CHECK((hour && *hour <= 1h && *hour > 59min));
}

TEMPLATE_TEST_CASE("integers of every width are seconds", "", signed char, unsigned char, short, unsigned short, int,
                   unsigned, long, unsigned long, long long, unsigned long long) {
  CHECK(left(TestType{0}) == none);
  CHECK(left(TestType{1}) == 1s);
  CHECK(left(TestType{127}) == 127s);
  if (std::is_signed_v<TestType>) {
    CHECK(left(static_cast<TestType>(-1)) == none);
    CHECK(left(lowest<TestType>) == none);
  }
  const bool fits = sizeof(TestType) < 8;
  CHECK(
      left(highest<TestType>) ==
      (fits ? milliseconds(static_cast<std::int64_t>(highest<TestType>) * (fits ? 1000 : 0)) : (milliseconds::max)()));
}

TEST_CASE("the longest whole seconds are exact, and longer ones as long as can be counted") {
  constexpr std::int64_t most = highest<std::int64_t> / 1000;
  CHECK(left(most) == milliseconds(most * 1000));
  CHECK(left(most + 1) == (milliseconds::max)());
  CHECK(left(static_cast<std::uint64_t>(most)) == milliseconds(most * 1000));
  CHECK(left(std::uint64_t{1} << 63) == (milliseconds::max)());
}

TEST_CASE("a duration is rounded up to a millisecond") {
  CHECK(left(1ns) == 1ms);
  CHECK(left(999'999ns) == 1ms);
  CHECK(left(1'000'000ns) == 1ms);
  CHECK(left(1'000'001ns) == 2ms);
  CHECK(left(1us) == 1ms);
  CHECK(left(500ms) == 500ms);
  CHECK(left(90min) == 5'400'000ms);
  CHECK(left(duration<double>(0.25)) == 250ms);
  CHECK(left(duration<double>(1e-12)) == 1ms);
  CHECK(left(duration<float, std::milli>(1.5F)) == 2ms);
  CHECK(left(duration<int, std::ratio<1, 3>>(1)) == 334ms);
  CHECK(left(duration<int, std::ratio<1, 3>>(3)) == 1s);
  CHECK(left(duration<unsigned, std::ratio<1, 3>>(300)) == 100s);
  CHECK(left(duration<int, std::ratio<86400>>(2)) == 48h);
  CHECK(left(duration<signed char, std::nano>(127)) == 1ms);
}

TEST_CASE("a duration that is too long is as long as can be counted") {
  CHECK(left((hours::max)()) == (milliseconds::max)());
  CHECK(left((milliseconds::max)()) == (milliseconds::max)());
  CHECK(left((std::chrono::seconds::max)()) == (milliseconds::max)());
  CHECK(left((std::chrono::nanoseconds::max)()) == std::chrono::ceil<milliseconds>((std::chrono::nanoseconds::max)()));
  CHECK(left(duration<std::uint64_t, std::milli>(highest<std::uint64_t>)) == (milliseconds::max)());
  CHECK(left(duration<double>(1e300)) == (milliseconds::max)());
  CHECK(left(duration<double>(std::numeric_limits<double>::infinity())) == (milliseconds::max)());
}

TEST_CASE("a duration of zero or less, and one that is not a number, has expired") {
  CHECK(left(0ns) == none);
  CHECK(left(-1ns) == none);
  CHECK(left(-500us) == none);
  CHECK(left(-1s) == none);
  CHECK(left((hours::min)()) == none);
  CHECK(left((std::chrono::nanoseconds::min)()) == none);
  CHECK(left(duration<double>(-1e-12)) == none);
  CHECK(left(duration<double>(-1e300)) == none);
  CHECK(left(duration<double>(-std::numeric_limits<double>::infinity())) == none);
  CHECK(left(duration<double>(std::numeric_limits<double>::quiet_NaN())) == none);
}

TEST_CASE("a time point leaves the time until then, rounded up") {
  const auto until = [](auto deadline) {
    const auto earlier = system_clock::now();
    const auto time = left(deadline);
    const auto later = system_clock::now();
    REQUIRE(time);
    CHECK(*time <= std::chrono::ceil<milliseconds>(deadline - earlier));
    CHECK(*time >= deadline - later);
  };
  until(system_clock::now() + 100s);
  until(system_clock::now() + 100s + 1ns);
  until(std::chrono::time_point_cast<std::chrono::seconds>(system_clock::now()) + 100s);
  until(std::chrono::ceil<hours>(system_clock::now()) + 1h);
  until(std::chrono::time_point<system_clock, duration<double>>(system_clock::now()) + duration<double>(100.5));
}

TEST_CASE("a time point that has come has expired") {
  CHECK(left(system_clock::now()) == none);
  CHECK(left(system_clock::now() - 1ns) == none);
  CHECK(left(system_clock::time_point()) == none);
  CHECK(left((system_clock::time_point::min)()) == none);
  CHECK(left((std::chrono::time_point<system_clock, hours>::min)()) == none);
}

TEST_CASE("a time point beyond the clock's range is its last") {
  const auto last = std::chrono::ceil<milliseconds>((system_clock::time_point::max)() - system_clock::now());
  for (const Expiry expiry :
       {Expiry((system_clock::time_point::max)()), Expiry((std::chrono::time_point<system_clock, hours>::max)()),
        Expiry((std::chrono::time_point<system_clock, std::chrono::seconds>::max)())}) {
    REQUIRE(left(expiry));
    CHECK(*left(expiry) <= last);
    CHECK(*left(expiry) > last - 1min);
  }
}

TEST_CASE("a duration runs from the call that it is given to, a time point does not move") {
  const Expiry after = 100s;
  const Expiry at = system_clock::now() + 2ms;
  while (left(at) != none) {
  }
  CHECK(left(after) == 100s);
}
