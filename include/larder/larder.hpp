// SPDX-License-Identifier: MIT
#pragma once

#include "base_cache.hpp"
#include "error.hpp"
#include "expiry.hpp"
#include "memory_cache.hpp"
#include "redis/client.hpp"
#include "redis/command.hpp"
#include "redis/options.hpp"
#include "redis/pool.hpp"
#include "redis/reply.hpp"
#include "redis_cache.hpp"
#include "version.hpp"
