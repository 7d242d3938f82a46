#pragma once

#include <cstddef>

// Which sanitizers this program is built with: LARDER_ASAN and LARDER_TSAN are 0 or 1.
#ifdef __has_feature
#define LARDER_HAS_FEATURE(name) __has_feature(name)
#else
#define LARDER_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || LARDER_HAS_FEATURE(address_sanitizer)
#define LARDER_ASAN 1
#else
#define LARDER_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || LARDER_HAS_FEATURE(thread_sanitizer)
#define LARDER_TSAN 1
#else
#define LARDER_TSAN 0
#endif

namespace larder::testing {

constexpr bool sanitized = LARDER_ASAN || LARDER_TSAN;

/// How often to do what shows more the more often it is done.
constexpr std::size_t scaled(std::size_t count) { return sanitized ? count / 10 : count; }

}  // namespace larder::testing
