// SPDX-License-Identifier: MIT
#pragma once

#if (defined(_MSVC_LANG) ? _MSVC_LANG : __cplusplus) < 201703L
#error "larder needs C++17 or later (-std=c++17, /std:c++17)."
#endif

#define LARDER_VERSION_MAJOR 0
#define LARDER_VERSION_MINOR 2
#define LARDER_VERSION_PATCH 0

// An inline namespace, the innermost around everything (larder::detail::v0_2_0::SieveTable), so that two versions can
// be in one program.
#define LARDER_ABI LARDER_ABI_(LARDER_VERSION_MAJOR, LARDER_VERSION_MINOR, LARDER_VERSION_PATCH)
#define LARDER_ABI_(major, minor, patch) LARDER_ABI_OF(major, minor, patch)
#define LARDER_ABI_OF(major, minor, patch) v##major##_##minor##_##patch
