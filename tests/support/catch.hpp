#pragma once

// Catch2 2.13 and 3 under one name: tests include this file and write as for version 3.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>

namespace Catch::Matchers {
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }
}  // namespace Catch::Matchers
#endif

namespace larder::testing {
inline bool has_skipped = false;
}  // namespace larder::testing

#ifndef SKIP  // new in Catch2 3.3
#include <iostream>

/// Ends a test case that cannot run here. CTest reports a program as skipped if nothing else in it failed.
#define SKIP(reason)                            \
  do {                                          \
    std::cout << "SKIPPED: " << reason << '\n'; \
    larder::testing::has_skipped = true;        \
    return;                                     \
  } while (false)
#endif
