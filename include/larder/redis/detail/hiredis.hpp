// SPDX-License-Identifier: MIT
#pragma once

#include "../../version.hpp"

#if __has_include(<hiredis/hiredis.h>)
#include <hiredis/hiredis.h>
#define LARDER_HIREDIS_ABI LARDER_HIREDIS_ABI_(LARDER_ABI, HIREDIS_MAJOR)
#else
#define LARDER_HIREDIS_ABI LARDER_HIREDIS_ABI_(LARDER_ABI, none)  // for fwd.hpp, which needs no hiredis
#endif

// The inline namespace of what includes hiredis: another one for each major version of it, as in
// larder::redis::v0_2_0_hiredis_1::Pool.
#define LARDER_HIREDIS_ABI_(abi, major) LARDER_HIREDIS_ABI_OF(abi, major)
#define LARDER_HIREDIS_ABI_OF(abi, major) abi##_hiredis_##major
