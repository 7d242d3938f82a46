// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <ratio>
#include <type_traits>

#include "version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

template <class T>
inline constexpr bool is_character = std::is_same_v<T, char> || std::is_same_v<T, wchar_t> ||
#ifdef __cpp_char8_t
                                     std::is_same_v<T, char8_t> ||
#endif
                                     std::is_same_v<T, char16_t> || std::is_same_v<T, char32_t>;

template <class T>
inline constexpr bool is_number = std::is_integral_v<T> && !std::is_same_v<T, bool> && !is_character<T>;

// A duration, or a point in time of the system's clock.
template <class T>
inline constexpr bool is_time = false;
template <class Rep, class Period>
inline constexpr bool is_time<std::chrono::duration<Rep, Period>> = true;
template <class Duration>
inline constexpr bool is_time<std::chrono::time_point<std::chrono::system_clock, Duration>> = true;

// Rounds up to To, and to the nearest end of its range where the value lies outside; NaN counts as the smallest.
template <class To, class Rep, class Period>
To ceil_saturated(std::chrono::duration<Rep, Period> duration) {
  using Ratio = std::ratio_divide<Period, typename To::period>;
  using Limits = std::numeric_limits<typename To::rep>;
  const auto estimate = static_cast<long double>(duration.count()) * Ratio::num / Ratio::den;
  if (!(estimate > static_cast<long double>((Limits::min)()))) return (To::min)();
  if (estimate >= static_cast<long double>((Limits::max)())) return (To::max)();
  if constexpr (std::is_integral_v<Rep> && (Ratio::num == 1 || Ratio::den == 1)) {
    return std::chrono::ceil<To>(duration);
  } else {
    return To(static_cast<typename To::rep>(std::ceil(estimate)));
  }
}

}  // namespace LARDER_ABI
}  // namespace larder::detail

namespace larder {
inline namespace LARDER_ABI {

/// When an entry expires: never, after a duration, or at a point in time. Converts implicitly from what says so, so
/// that callers write `60` (seconds), `500ms`, `system_clock::now() + 1h`, or nothing. A `double`, a `bool`, a
/// `char` and a `steady_clock::time_point` do not compile. What is longer than the cache can count is as long as it can
/// count.
class Expiry {
 public:
  /// Never.
  Expiry() noexcept = default;
  /// Never.
  Expiry(std::nullopt_t) noexcept {}

  /// After this many seconds, from the moment of the call it is given to; zero or less: already expired.
  template <class Integer, std::enable_if_t<detail::is_number<Integer>, int> = 0>
  Expiry(Integer seconds) noexcept : Expiry(std::chrono::duration<Integer>(seconds)) {}

  /// After a duration, rounded up to a millisecond, from the moment of the call it is given to; zero or less (or not a
  /// number): already expired.
  template <class Rep, class Period>
  Expiry(std::chrono::duration<Rep, Period> duration) noexcept
      : kind_(Kind::after), after_(detail::ceil_saturated<std::chrono::milliseconds>(duration)) {}

  /// At a point in time by this machine's clock; now or earlier: already expired. The call that it is given to works
  /// out the time left when it begins: an entry may live longer by what the call takes.
  template <class Duration>
  Expiry(std::chrono::time_point<std::chrono::system_clock, Duration> deadline) noexcept
      : kind_(Kind::at),
        at_(detail::ceil_saturated<std::chrono::system_clock::duration>(deadline.time_since_epoch())) {}

  /// A duration or a point in time, if there is one, else never.
  template <class Time, std::enable_if_t<detail::is_time<Time>, int> = 0>
  Expiry(const std::optional<Time>& time) noexcept : Expiry(time ? Expiry(*time) : Expiry()) {}

  /// The time left, rounded up to a millisecond: none if it never expires, zero if it has expired.
  [[nodiscard]] std::optional<std::chrono::milliseconds> time_left() const noexcept {
    using std::chrono::milliseconds;
    switch (kind_) {
      case Kind::after:
        return after_ > milliseconds::zero() ? after_ : milliseconds::zero();
      case Kind::at: {
        const std::chrono::system_clock::time_point deadline(at_);
        const auto now = std::chrono::system_clock::now();
        return deadline > now ? std::chrono::ceil<milliseconds>(deadline - now) : milliseconds::zero();
      }
      case Kind::never:
        break;
    }
    return std::nullopt;
  }

  /// The same, when the call that it is given to began so long ago.
  std::optional<std::chrono::milliseconds> time_left(std::chrono::nanoseconds elapsed) const noexcept {
    const auto left = time_left();
    if (kind_ != Kind::after) return left;
    return (std::max)(*left - std::chrono::floor<std::chrono::milliseconds>(elapsed),
                      std::chrono::milliseconds::zero());
  }

 private:
  enum class Kind : unsigned char { never, after, at };

  Kind kind_ = Kind::never;
  std::chrono::milliseconds after_{};
  std::chrono::system_clock::duration at_{};  // since the clock's epoch
};

}  // namespace LARDER_ABI
}  // namespace larder
