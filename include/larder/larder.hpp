// SPDX-License-Identifier: MIT
#pragma once

#include "base_cache.hpp"
#include "error.hpp"
#include "expiry.hpp"
#include "forwarding_cache.hpp"
#include "memory_cache.hpp"
#include "null_cache.hpp"
#include "observer.hpp"
#include "redis/client.hpp"
#include "redis/command.hpp"
#include "redis/options.hpp"
#include "redis/pool.hpp"
#include "redis/reply.hpp"
#include "redis_cache.hpp"
#include "statistics.hpp"
#include "version.hpp"
