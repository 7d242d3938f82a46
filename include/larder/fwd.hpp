// SPDX-License-Identifier: MIT
#pragma once

// Declares what a program may name, for headers that need no more. A program cannot do this itself, as the names are in
// inline namespaces. What includes hiredis can be named without it, but is another type where it is there.

#include "detail/fwd.hpp"
#include "redis/detail/hiredis.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_HIREDIS_ABI {

class RedisCache;

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder

namespace larder::redis {
inline namespace LARDER_ABI {

class Client;
class Command;
class Reply;
struct Options;

}  // namespace LARDER_ABI
inline namespace LARDER_HIREDIS_ABI {

class Cluster;
class Pool;
class Sentinel;

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis
