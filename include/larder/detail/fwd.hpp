// SPDX-License-Identifier: MIT
#pragma once

#include "../version.hpp"

// The forward declarations of everything but Redis, for the headers that need no hiredis; fwd.hpp has all. Default
// template arguments stand here alone.

namespace larder {
inline namespace LARDER_ABI {

class Error;
class ConnectionError;
class TimeoutError;
class ProtocolError;
class ServerError;
class BatchError;
class InvalidArgument;
class LoadCancelled;

class Expiry;
class BaseCache;
class MemoryCache;
class NullCache;
class ForwardingCache;
class FailOpenCache;
class Observer;
class PrometheusText;

struct CacheStats;
struct LoadStats;
struct LoadOptions;
template <class Value>
struct LoadContext;
template <class T, class = void>
struct Codec;
template <class Key, class Value, class ValueCodec = Codec<Value>>
class TypedCache;
template <class Key, class Value, class ValueCodec = Codec<Value>>
class LoadingCache;

}  // namespace LARDER_ABI
}  // namespace larder

namespace larder::redis {
inline namespace LARDER_ABI {

struct PoolStats;

}  // namespace LARDER_ABI
}  // namespace larder::redis
